"""How does a task get to its queue so that afterwards the sender knows it is there?

``send`` returns only when the broker has confirmed the message. A connection that is lost in between is
opened again and the message sent once more under the same id: a worker may then see it twice, never not at
all. Everything is bounded by ``timeout_seconds``, a broker that has stopped reading included.
"""

import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from fleet.connection import DEFAULT_TIMEOUTS, Target, Timeouts
from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain, UsageError
from fleet.login import Login
from fleet.model import Fleet, Kind
from fleet.publish.channel import ConfirmedChannel, ConnectionLost, Refusal, RefusalKind
from fleet.publish.message import TaskMessage, WireMessage, for_rabbitmq, for_redis
from fleet.secrets import Secret

#: for one send, reconnecting included
SEND_SECONDS = 15.0


class Door(Protocol):
    """What a publisher needs of a broker."""

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Publish and return, for each message, None or why the broker did not take it."""
        ...

    def open(self) -> None:
        """Connect, unless connected."""
        ...

    def require_queue(self, name: str) -> None:
        """Make sure that queue ``name`` exists."""
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
        self._target = Target(broker=fleet.broker, login=login, name=name, timeouts=timeouts)
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
        self.send_many((message,))

    def send_many(self, messages: Sequence[TaskMessage]) -> None:
        """Send ``messages`` in order and return when the broker has all of them for certain.

        Raises as ``send`` does, for the first that went wrong; others may be queued.
        """
        for refused in self.deliver(messages):
            if refused is not None:
                raise refused

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[BrokerRefused | None, ...]:
        """Send ``messages`` in order; return for each None (the broker has it) or why it would not have it.

        Raises as ``send`` does when it cannot be told for each of them.
        """
        encode = for_redis if self._is_redis else for_rabbitmq
        now = self._clock()
        wires = [encode(message, now=now, origin=self._origin) for message in messages]
        started = time.monotonic()
        try:
            refusals = self._deliver(messages, wires, self._timeout_seconds)
        except ConnectionLost as lost:
            left = self._timeout_seconds - (time.monotonic() - started)
            refusals = self._deliver_again(messages, wires, left, lost)
        return tuple(
            self._refused(message, refusal) if refusal else None
            for message, refusal in zip(messages, refusals, strict=True)
        )

    def close(self) -> None:
        """Close the connection."""
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _deliver(
        self, messages: Sequence[TaskMessage], wires: Sequence[WireMessage], seconds: float
    ) -> tuple[Refusal | None, ...]:
        for message in messages:
            if message.delay_seconds:
                # The broker can tell at once that a key leads nowhere, but not at the end of a delay.
                self._door.require_queue(message.queue.name)
        return self._door.deliver(wires, timeout_seconds=seconds)

    def _deliver_again(
        self,
        messages: Sequence[TaskMessage],
        wires: Sequence[WireMessage],
        seconds: float,
        lost: ConnectionLost,
    ) -> tuple[Refusal | None, ...]:
        """Send once more what has no answer; what the broker has confirmed would only run twice."""
        left = [index for index in range(len(wires)) if index not in lost.answered]
        try:
            again = self._deliver(
                [messages[index] for index in left], [wires[index] for index in left], max(seconds, 1.0)
            )
        except (BrokerUnreachable, BrokerRefused) as error:
            raise PublishUncertain(f"{lost.message}; then: {error.message}", hint=error.hint) from error
        answers = {**lost.answered, **dict(zip(left, again, strict=True))}
        return tuple(answers[index] for index in range(len(wires)))

    def _refused(self, message: TaskMessage, refusal: Refusal) -> BrokerRefused:
        queue = message.queue.name
        if refusal.kind is RefusalKind.UNROUTABLE:
            return BrokerRefused(
                f"no queue takes task `{message.task}`: `{queue}` is not bound in "
                f"vhost `{self._target.broker.vhost}` ({refusal.reason})",
                hint="run `fleet provision broker`",
            )
        return BrokerRefused(
            f"queue `{queue}` did not take task `{message.task}`: it is full, or too few of its broker "
            f"nodes are up ({refusal.reason})",
            hint=f"see `rabbitmqctl list_queues -p {self._target.broker.vhost} name messages state`, "
            f"and `max_length` of queue `{message.queue.queue}` in the fleet file",
        )


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
