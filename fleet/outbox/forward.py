"""How do the tasks of an outbox get to the broker, each queue's in the order in which they were sent?

One message is under way at a time: several could be answered "yes, no, yes", and the last would have
overtaken the one before it. A task that the broker would not have keeps its place with the reason, and those
behind it in the same queue wait, since what it is refused for (a missing or full queue, a missing right) is
the queue's matter; the other queues go on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain
from fleet.outbox.record import KeptTask, due_message
from fleet.outbox.store import Drain, Outbox
from fleet.publish.message import TaskMessage


class Sender(Protocol):
    """What forwarding needs of a publisher."""

    def open(self) -> None:
        """Connect, unless connected; raises BrokerUnreachable or BrokerRefused."""
        ...

    def send(self, message: TaskMessage) -> None:
        """Send and return when the broker has it; raises BrokerUnreachable or BrokerRefused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A queue whose first task the broker would not have, or this release cannot read."""

    #: name in the broker
    queue: str
    #: number of that task in the outbox
    number: int
    task_id: str
    reason: str
    hint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What one run of forwarding has done."""

    #: tasks that the broker confirmed
    delivered: int = 0
    #: tasks that stay in the outbox
    left: int = 0
    held: tuple[Held, ...] = ()
    #: why it ended early, or None
    stopped: BrokerUnreachable | None = None


def forward(
    outbox: Outbox,
    sender: Sender,
    *,
    clock: Callable[[], float] = time.time,
    is_over: Callable[[], bool] = lambda: False,
    on_delivered: Callable[[], None] = lambda: None,
) -> Forwarded:
    """Publish what ``outbox`` keeps, until it is empty, ``is_over`` or no broker answers any more.

    Raises OutboxBusy (another process does it), OutboxUnusable, or BrokerRefused (login or vhost).
    """
    if not outbox.has_backlog():
        return Forwarded()
    with outbox.forwarding() as drain:
        run = _Run(drain, sender, clock, is_over, on_delivered)
        stopped = run.until_stopped()
    left = outbox.backlog().volume.messages
    return Forwarded(delivered=run.delivered, left=left, held=tuple(run.held.values()), stopped=stopped)


class _Run:
    def __init__(
        self,
        drain: Drain,
        sender: Sender,
        clock: Callable[[], float],
        is_over: Callable[[], bool],
        on_delivered: Callable[[], None],
    ) -> None:
        self._drain = drain
        self._sender = sender
        self._clock = clock
        self._is_over = is_over
        self._on_delivered = on_delivered
        self.delivered = 0
        #: queue → why it is held
        self.held: dict[str, Held] = {}

    def until_stopped(self) -> BrokerUnreachable | None:
        try:
            self._sender.open()
            self._drain.begin(now=self._clock())
            # Looked at again: other processes may add tasks meanwhile.
            while queues := [name for name in self._drain.queues() if name not in self.held]:
                for queue in queues:
                    self._empty(queue)
                if self._is_over():
                    break
        except BrokerUnreachable as error:
            return error
        return None

    def _empty(self, queue: str) -> None:
        while not self._is_over() and (task := self._drain.first(queue)) is not None:
            if task.unreadable is not None:
                self._hold(task, task.unreadable, hint="run the release that kept it on this machine")
                return
            try:
                self._sender.send(due_message(task.message, now=self._clock()))
            except BrokerRefused as refusal:
                self._hold(task, refusal.message, hint=refusal.hint)
                return
            except PublishUncertain as error:
                # Named, because the connection may have gone for this very message's sake.
                which = f"while task {task.message.task_id} (number {task.number}) was sent"
                raise PublishUncertain(f"{error.message}, {which}", hint=error.hint) from error
            self._drain.remove(task)
            self.delivered += 1
            self._on_delivered()

    def _hold(self, task: KeptTask, reason: str, *, hint: str | None) -> None:
        self._drain.hold(task, reason, now=self._clock())
        queue = task.message.queue.name
        self.held[queue] = Held(
            queue=queue,
            number=task.number,
            task_id=task.message.task_id,
            reason=reason,
            hint=hint,
        )
