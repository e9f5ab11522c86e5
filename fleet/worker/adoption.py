"""Is this message the very one that already runs here, delivered once more because a connection was lost?

A long task outlives its connection: the network was cut, the broker restarted, or it timed out. The
broker then delivers its message again. Instead of starting it beside itself, the run that goes on adopts
the new delivery and settles it when it ends; a run that has ended meanwhile settles it at once.

This holds for redeliveries to the same worker process, which a per-host queue guarantees while one instance
serves it. On a shared long queue another worker may get the message: only the task itself can guard that.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Literal, Protocol

from fleet.worker.message import CONNECTION, QUEUE_HEADER

#: runs that have ended and whose message may still come back
REMEMBERED = 1000

Settled = Literal["ack", "reject"]
#: settles a delivery: logger and connection errors, and for a reject whether to requeue
Settle = Callable[..., None]


class Message(Protocol):
    """What is needed of kombu's message."""

    headers: Mapping[str, Any]
    body: bytes | str
    delivery_info: Mapping[str, Any]


class Request(Protocol):
    """What is needed of Celery's request."""

    acknowledged: bool
    _message: Message
    _on_ack: Settle
    _on_reject: Settle


class Adoptions:
    """The runs of one worker that may adopt a redelivery of their own message."""

    def __init__(self, queues: Iterable[str], *, remembered: int = REMEMBERED) -> None:
        #: broker names of the queues whose tasks outlive a connection; elsewhere nothing is adopted
        self._queues = frozenset(queues)
        self._remembered = remembered
        self._ended: OrderedDict[Hashable, tuple[int, Settled]] = OrderedDict()

    def remember(self, request: Request, *, settled: Settled) -> None:
        """Note how ``request`` is being settled, in case the broker never hears of it."""
        message = request._message
        if message.delivery_info.get(QUEUE_HEADER) not in self._queues:
            return
        self._ended[_identity(message)] = (_connection(message), settled)
        while len(self._ended) > self._remembered:
            self._ended.popitem(last=False)

    def running(self, message: Message, active: Iterable[Request]) -> Request | None:
        """Return the run among ``active`` that ``message`` is a redelivery of, or None."""
        if not self._may_adopt(message):
            return None
        identity = _identity(message)
        return next(
            (
                request
                for request in active
                if not request.acknowledged
                and _connection(request._message) != _connection(message)
                and _identity(request._message) == identity
            ),
            None,
        )

    def ended(self, message: Message) -> Settled | None:
        """Return how the run that ``message`` is a redelivery of was settled in vain, or None."""
        if not self._may_adopt(message):
            return None
        # Settled on this very connection, the broker has heard of it: this is another message.
        here = _connection(message)
        connection, settled = self._ended.get(_identity(message), (here, None))
        return None if connection == here else settled

    def knows(self, message: Message, active: Iterable[Request]) -> bool:
        """Tell whether ``message`` is a redelivery of a run of this worker, going on or ended."""
        return self.running(message, active) is not None or self.ended(message) is not None

    def forget(self, message: Message) -> None:
        """Forget how an earlier run of ``message`` ended, because it was sent anew: it is to run again."""
        info = message.delivery_info
        if info.get(QUEUE_HEADER) in self._queues and not info.get("redelivered"):
            self._ended.pop(_identity(message), None)

    def _may_adopt(self, message: Message) -> bool:
        # A sender can repeat an id, but only the broker can say that it delivers a message once more.
        info = message.delivery_info
        return info.get(QUEUE_HEADER) in self._queues and bool(info.get("redelivered"))


def adopt(request: Request, message: Message, *, ack: Settle, reject: Settle) -> None:
    """Make ``request`` settle ``message`` when it ends, instead of the delivery that it was started by."""
    request._message = message
    request._on_ack = ack
    request._on_reject = reject


def _identity(message: Message) -> Hashable:
    """Return what makes a message this one; each publish, a retry's too, has a stamp of its own."""
    headers = message.headers
    stamps = tuple(headers.get(name) for name in ("id", "task", "retries", "fleet_sent"))
    body = message.body.encode() if isinstance(message.body, str) else message.body
    return (message.delivery_info.get(QUEUE_HEADER), *stamps, hashlib.sha256(body).digest())


def _connection(message: Message) -> int:
    return int(message.delivery_info[CONNECTION])
