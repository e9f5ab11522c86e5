"""A process that sends tasks at a steady pace and notes the id of each one that was accepted.

``python -m tests.faults.publisher FILE ORDER``: ORDER is one ``Order`` as JSON; ids are appended to FILE. The
environment says to whom: FLEET_FILE for the fleet, FAULTS_URL and FAULTS_SETTINGS for plain Celery.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet import Client, TaskCall
from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain

#: sends one task and returns its id
Send = Callable[[], str]
#: what is raised when a task was not accepted, for all that is known; anything else ends the publisher
Refused = tuple[type[Exception], ...]
ACCEPTED, REFUSED = "accepted", "refused"
#: how long a sender that was refused leaves the broker alone
REFUSED_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one publisher is to send."""

    task: str
    args: tuple[object, ...] = ()
    #: how many are to be accepted
    count: int
    #: tasks per second; 0 for as many as possible
    rate: float = 0.0
    #: host of a per-host queue
    host: str | None = None
    #: as many at a time as the software under test can
    bulk: bool = False

    @property
    def seconds(self) -> float:
        """How long that takes at its pace when nothing is refused and nothing waits."""
        return self.count / self.rate if self.rate else 0.0

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "Order":
        """Return the order that ``encode`` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"args": tuple(fields["args"])})


def main(file: Path, order: Order) -> None:
    """Send until as many tasks are accepted as were ordered; one that is refused is not tried again."""
    if order.bulk and "FLEET_FILE" in os.environ:
        _send_many(file, order)
        return
    send, refused = _fleet_sender(order) if "FLEET_FILE" in os.environ else _plain_sender(order)
    accepted, due = 0, time.monotonic()
    with file.open("a", buffering=1) as ids:
        while accepted < order.count:
            try:
                ids.write(f"{ACCEPTED} {send()}\n")
                accepted += 1
            except refused as error:
                ids.write(f"{REFUSED} {type(error).__name__}\n")
                due = time.monotonic() + REFUSED_SECONDS
            if order.rate:
                due = max(due + 1 / order.rate, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))


def _send_many(file: Path, order: Order) -> None:
    calls = (TaskCall(order.task, args=order.args, host=order.host) for _ in range(order.count))
    with file.open("a", buffering=1) as ids, Client(os.environ["FLEET_FILE"]) as client:
        for delivery in client.send_many(calls):
            ids.write(f"{ACCEPTED if delivery.accepted else REFUSED} {delivery.id}\n")


def _fleet_sender(order: Order) -> tuple[Send, Refused]:
    client = Client(os.environ["FLEET_FILE"])
    return lambda: client.send(order.task, args=order.args, host=order.host).id, (
        BrokerUnreachable,
        BrokerRefused,
        PublishUncertain,
    )


def _plain_sender(order: Order) -> tuple[Send, Refused]:
    from kombu.exceptions import OperationalError

    from tests.faults.plain import app

    return lambda: str(app.send_task(order.task, order.args).id), (OperationalError,)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Order.decode(sys.argv[2]))
