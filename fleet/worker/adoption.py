"""Is this message the very one that runs or ran here, delivered once more because a connection was lost?

A long task outlives its connection: the network was cut, the broker restarted, or it timed out. The
broker then delivers its message again. Instead of starting it beside itself, the run that goes on adopts
the new delivery and settles it when it ends.

Any run, a short one too, may have ended and been settled in vain: the connection went before the broker had
kept the acknowledgement. When its message comes back to the same worker, it is settled again and not run.

Both hold for redeliveries to the same worker process, which a per-host queue guarantees while one instance
serves it. On a shared queue another worker may get the message: only the task itself can guard that.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from fleet.publish.message import SENT_HEADER
from fleet.worker.message import CONNECTION, QUEUE_HEADER

#: connections that may be lost one after the other before a message settled on the first comes back
LOST_CONNECTIONS = 10

Settled = Literal["ack", "reject"]
#: settles a delivery: logger and connection errors, and for a reject whether to requeue
Settle = Callable[..., None]
#: what a message is found by: id, attempt, and the stamp that each publish has of its own
Key = tuple[object, ...]


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


class Ended(NamedTuple):
    """A run that has ended, and whose message may still come back."""

    #: number of the connection on which it was settled
    connection: int
    settled: Settled
    #: what else its message must be like
    content: tuple[object, ...]


class Adoptions:
    """The runs of one worker that may adopt a redelivery of their own message, or have settled it already."""

    def __init__(self, queues: Iterable[str], *, adopting: Collection[str], remembered: int) -> None:
        """Remember the last ``remembered`` runs of each of ``queues``, which are names in the broker.

        On a lost connection at most a queue's prefetch was settled in vain: the broker delivers another
        message only once it has kept an acknowledgement, and keeps those of one channel in their order.
        """
        #: queues whose tasks outlive a connection
        self._adopting = frozenset(adopting)
        self._remembered = remembered
        # Each queue has its own: a busy one must not push out what a quiet one has settled.
        self._ended: Mapping[str, OrderedDict[Key, Ended]] = {queue: OrderedDict() for queue in queues}

    def remember(self, message: Message, *, settled: Settled) -> None:
        """Note how ``message`` is being settled after its run, in case the broker never hears of it.

        Called for each run, so nothing slow. A message without a stamp of its publish is not remembered:
        another one of the same id, never run, could not be told from it.
        """
        ended = self._of(message)
        key = _key(message)
        if ended is None or key[-1] is None:
            return
        ended.pop(key, None)
        ended[key] = Ended(_connection(message), settled, _content(message))
        if len(ended) > self._remembered:
            ended.popitem(last=False)

    def running(self, message: Message, active: Iterable[Request]) -> Request | None:
        """Return the run among ``active`` that ``message`` is a redelivery of, or None."""
        if not _is_redelivered(message) or message.delivery_info.get(QUEUE_HEADER) not in self._adopting:
            return None
        return next(
            (
                request
                for request in active
                if not request.acknowledged
                and _connection(request._message) != _connection(message)
                and _is_same(request._message, message)
            ),
            None,
        )

    def ended(self, message: Message) -> Settled | None:
        """Return how the run that ``message`` is a redelivery of was settled in vain, or None."""
        ended = self._of(message)
        # A sender can repeat an id, but only the broker can say that it delivers a message once more.
        if ended is None or not _is_redelivered(message):
            return None
        run = ended.get(_key(message))
        # Settled on this very connection, the broker has heard of it: this is another message.
        if run is None or run.connection == _connection(message) or run.content != _content(message):
            return None
        return run.settled

    def knows(self, message: Message, active: Iterable[Request]) -> bool:
        """Tell whether ``message`` is a redelivery of a run of this worker, going on or ended."""
        return self.running(message, active) is not None or self.ended(message) is not None

    def forget(self, message: Message) -> None:
        """Forget how an earlier run of ``message`` ended, because it was sent anew: it is to run again."""
        ended = self._of(message)
        if ended and not _is_redelivered(message):
            ended.pop(_key(message), None)

    def _of(self, message: Message) -> OrderedDict[Key, Ended] | None:
        return self._ended.get(message.delivery_info.get(QUEUE_HEADER, ""))


def adopt(request: Request, message: Message, *, ack: Settle, reject: Settle) -> None:
    """Make ``request`` settle ``message`` when it ends, instead of the delivery that it was started by."""
    request._message = message
    request._on_ack = ack
    request._on_reject = reject


def _is_redelivered(message: Message) -> bool:
    return bool(message.delivery_info.get("redelivered"))


def _is_same(one: Message, other: Message) -> bool:
    queues = {each.delivery_info.get(QUEUE_HEADER) for each in (one, other)}
    return len(queues) == 1 and _key(one) == _key(other) and _content(one) == _content(other)


def _key(message: Message) -> Key:
    headers = message.headers
    key = (headers.get("id"), headers.get("retries"), headers.get(SENT_HEADER))
    try:
        hash(key)
    except TypeError:
        # A stranger's header may hold a list or a table, which no dictionary takes.
        return repr(key[0]), None, None
    return key


def _content(message: Message) -> tuple[object, ...]:
    # Python's own hash has a secret of this process in it, which is the only one that compares it: nobody can
    # choose a body that has another's. What an operator moves back by the broker's means has died once more.
    return message.headers.get("task"), hash(message.body), message.headers.get("x-death")


def _connection(message: Message) -> int:
    return int(message.delivery_info[CONNECTION])
