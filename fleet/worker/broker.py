"""What follows from the version of the broker that a worker is connected to? Asked anew at each connection.

Pure: what the broker says about itself in, facts out. Policies that differ by version are provisioning's
(``fleet.topology``); here is what a worker itself does differently, and what it should say.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from fleet.model import CONSUMER_TIMEOUT_SINCE, SHARED_TRANSIENT_UNTIL, Queue

#: how long a broker lets a consumer hold a message, where nothing says otherwise
CONSUMER_TIMEOUT_SECONDS = 1800
#: deliveries beyond those that consumer timeouts cause
SPARE_DELIVERIES = 5


def version_of(server_properties: Mapping[str, object]) -> tuple[int, ...]:
    """Return the version that a broker announces, such as ``(3, 10, 8)``; () where it announces none."""
    value = server_properties.get("version", "")
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def has_control_queue_to_itself(version: tuple[int, ...]) -> bool:
    """Tell whether the worker's mailbox for remote control belongs to one connection alone.

    After a cable was cut, the broker holds the old connection, and with it such a queue, for another while,
    in which the worker could not come back. Newer brokers allow no other transient queue.
    """
    return not version or version >= SHARED_TRANSIENT_UNTIL


def warnings(version: tuple[int, ...], queues: Iterable[Queue]) -> Iterator[str]:
    """Yield what an operator should know about ``queues`` on a broker of this version."""
    if not version or version >= CONSUMER_TIMEOUT_SINCE:
        return
    for queue in queues:
        needed = -(-queue.max_runtime_seconds // CONSUMER_TIMEOUT_SECONDS) + SPARE_DELIVERIES
        if queue.long and queue.delivery_limit < needed:
            yield (
                f"queue `{queue.name}` has delivery_limit = {queue.delivery_limit}, but this broker delivers "
                f"a message anew every {CONSUMER_TIMEOUT_SECONDS // 60} min while its task runs, for up to "
                f"{queue.max_runtime_seconds} s: set it to {needed} or more, or raise the broker's "
                "consumer_timeout"
            )
