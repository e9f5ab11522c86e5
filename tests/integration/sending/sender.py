"""``python -m tests.integration.sending.sender FLEET_FILE COUNT``: send keyed tasks, print what was accepted.

Each line is written at once, so that what was printed was known to the caller when the process was killed.
"""

import sys

from fleet import Client, TaskCall

if __name__ == "__main__":
    file, count = sys.argv[1:]
    calls = (TaskCall("shop.charge", {"order": n}, key=f"order-{n}") for n in range(int(count)))
    with Client(file) as client:
        for delivery in client.send_many(calls):
            assert delivery.accepted, delivery
            print(delivery.id, flush=True)
