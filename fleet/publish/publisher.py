"""How does a task get to its queue so that afterwards the sender knows it is there?

``send`` returns only when the broker has confirmed the message. A connection that is lost in between is
opened again and the message sent once more under the same id: a worker may then see it twice, never not at
all. Reaching a broker and its answer are bounded by ``timeout_seconds`` each, a broker that has stopped
reading included.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

from fleet.connection import DEFAULT_TIMEOUTS, Target, Timeouts
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PublishUncertain, UsageError
from fleet.login import Login
from fleet.model import Fleet, Kind
from fleet.publish.channel import ConfirmedChannel
from fleet.publish.fate import Fate, FateKind, unsent
from fleet.publish.message import TaskMessage, WireMessage, for_rabbitmq, for_redis
from fleet.publish.stream import AGAIN
from fleet.secrets import Secret

#: for one send: to reach a broker, and as long for its answer, reconnecting included
SEND_SECONDS = 15.0
#: the broker then says something every five seconds, so that a node that hangs is told from one that is slow
HEARTBEAT_SECONDS = 10


class Door(Protocol):
    """What a publisher needs of a broker."""

    def fates(self, messages: Iterable[WireMessage], *, timeout_seconds: float) -> Iterator[Fate]:
        """Publish ``messages`` and yield the fate of each, in order."""
        ...

    def open(self) -> None:
        """Connect, unless connected."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Publisher:
    """Sends tasks over one connection, which it opens when needed and keeps while it is used.

    Not for use from several threads at once.
    """

    def __init__(
        self,
        fleet: Fleet,
        password: Secret | None,
        *,
        user: str | None = None,
        name: str = "fleet publisher",
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        timeout_seconds: float = SEND_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        login = Login(user=user or fleet.broker.user, password=password)
        self._target = Target(
            broker=fleet.broker,
            login=login,
            name=name,
            timeouts=timeouts,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._origin = f"{name.replace(' ', '-')}@{socket.gethostname()}"
        self._is_redis = fleet.broker.kind is Kind.REDIS
        self._door = _open_door(self._target)

    def open(self) -> None:
        """Connect now rather than at the first send; raises BrokerUnreachable or BrokerRefused."""
        self._door.open()

    def send(self, message: TaskMessage) -> None:
        """Send ``message`` and return when the broker has it for certain.

        Raises BrokerUnreachable (it is not there), BrokerRefused (the broker would not have it) or
        PublishUncertain (it may be there; sending it again with the same id is safe where the task is).
        """
        (error,) = self.deliver((message,))
        if error is not None:
            raise error

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[FleetError | None, ...]:
        """Send ``messages`` in order; return for each None (the broker has it), or what ``send`` would raise.

        Raises BrokerUnreachable or BrokerRefused (login or vhost) when none of them was sent.
        """
        wires = [self._encode(message) for message in messages]
        fates: list[Fate] = []
        ended: FleetError | None = None
        try:
            for fate in self._door.fates(wires, timeout_seconds=self._timeout_seconds):
                fates.append(fate)  # what came before an error counts, too
        except FleetError as error:
            if all(fate.kind is FateKind.UNSENT for fate in fates):
                raise
            ended = error
            fates += unsent(len(messages) - len(fates), error)
        return tuple(self._told(message, fate, ended) for message, fate in zip(messages, fates, strict=True))

    def stream(self, messages: Iterable[TaskMessage]) -> Generator[tuple[TaskMessage, Fate], None, None]:
        """Send ``messages``, however many, and yield the fate of each, in their order.

        Takes from ``messages`` only as many as may be unconfirmed at a time, over a connection of its own,
        so that others may be sent meanwhile. Raises, after the fates of all messages that were taken,
        BrokerUnreachable (none of them is unknown), PublishUncertain (some are), BrokerRefused (exchange or
        permission), or what ``messages`` itself raised.
        """
        taken: deque[TaskMessage] = deque()

        def wires() -> Iterator[WireMessage]:
            for message in messages:
                wire = self._encode(message)
                taken.append(message)
                yield wire

        with closing(_open_door(self._target)) as door:
            for fate in door.fates(wires(), timeout_seconds=self._timeout_seconds):
                yield taken.popleft(), fate

    def close(self) -> None:
        """Close the connection."""
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _encode(self, message: TaskMessage) -> WireMessage:
        encode = for_redis if self._is_redis else for_rabbitmq
        return encode(message, now=self._clock(), origin=self._origin)

    def _told(self, message: TaskMessage, fate: Fate, ended: FleetError | None) -> FleetError | None:
        """Return what became of one of several messages, which ``ended`` came between."""
        if ended is None or (fate.is_answered and not fate.closed_channel):
            return self.refusal(message, fate)
        if fate.kind is FateKind.UNKNOWN:
            return ended if isinstance(ended, PublishUncertain) else self.refusal(message, fate)
        if fate.kind is FateKind.UNSENT:
            return _not_sent(ended)
        return ended

    def refusal(self, message: TaskMessage, fate: Fate) -> BrokerRefused | PublishUncertain | None:
        """Return the error for a message that the broker did not take, or may have; None when it has it."""
        if fate.accepted:
            return None
        queue = message.queue.name
        if fate.kind is FateKind.UNKNOWN:
            return PublishUncertain(
                f"no confirm came for task `{message.task}` to queue `{queue}`: {fate.reason}", hint=AGAIN
            )
        if fate.kind is FateKind.UNROUTABLE:
            return BrokerRefused(
                f"no queue takes task `{message.task}`: `{queue}` is not bound in "
                f"vhost `{self._target.broker.vhost}` ({fate.reason})",
                hint="run `fleet provision broker`",
            )
        return BrokerRefused(
            f"queue `{queue}` did not take task `{message.task}`: it is full, or too few of its broker "
            f"nodes are up ({fate.reason})",
            hint=f"see `rabbitmqctl list_queues -p {self._target.broker.vhost} name messages state`, "
            f"and `max_length` of queue `{message.queue.queue}` in the fleet file",
        )


def _not_sent(ended: FleetError) -> FleetError:
    if isinstance(ended, BrokerUnreachable):
        return BrokerUnreachable(ended.message, hint=ended.hint)
    return BrokerRefused(f"it was not sent, for what came before it: {ended.message}", hint=ended.hint)


def _open_door(target: Target) -> Door:
    if target.broker.kind is Kind.REDIS:
        try:
            from fleet.publish.redis import RedisLists
        except ImportError as error:
            raise UsageError(
                "this fleet's broker is Redis, and its client library is not installed",
                hint="install `fleet[redis]`",
            ) from error
        return RedisLists(target)
    return ConfirmedChannel(target)
