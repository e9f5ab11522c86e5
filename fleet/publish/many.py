"""How are very many tasks sent, and what became of each of them?

Tasks are taken from an iterator and their fates given by one, so that a million of them needs no more memory
than a thousand.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Self

from fleet.errors import BrokerRefused, FleetError, PartlyDone, PublishUncertain
from fleet.model import Fleet
from fleet.publish.compose import Destinations, task_message
from fleet.publish.fate import Fate
from fleet.publish.message import NOTHING, TaskMessage
from fleet.publish.publisher import Publisher


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A task that is to be sent, with its arguments."""

    #: name of the task
    task: str
    #: JSON-like keyword arguments
    kwargs: Mapping[str, object] = field(default_factory=lambda: NOTHING, repr=False)
    _: KW_ONLY
    #: JSON-like positional arguments
    args: Sequence[object] = field(default=(), repr=False)
    #: the host, where the task's queue is per host
    host: str | None = None
    #: name of the queue in the fleet file, where it is not the task's usual one
    queue: str | None = None
    #: the broker holds the task for this long, rounded up to whole seconds
    delay_seconds: float = 0
    #: idempotency key: the same key means the same piece of work, and the same task id
    key: str | None = None
    #: W3C trace context of the caller; None makes one of the task id
    traceparent: str | None = None

    def message(self, destinations: Destinations) -> TaskMessage:
        """Return the task's message. Raises UsageError when no queue of the fleet takes it."""
        return task_message(
            destinations,
            self.task,
            args=self.args,
            kwargs=self.kwargs,
            host=self.host,
            queue=self.queue,
            delay_seconds=self.delay_seconds,
            key=self.key,
            traceparent=self.traceparent,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of one task of ``send_many``."""

    id: str
    #: name of the task
    task: str
    #: name of the queue in the broker
    queue: str
    #: the host it runs on; None where any worker of the queue may take it
    host: str | None
    key: str | None
    fate: Fate

    @property
    def accepted(self) -> bool:
        """Tell whether the broker has the task for certain."""
        return self.fate.accepted


class Deliveries:
    """An iterator over what became of each task, in their order; the tasks are sent while it is iterated."""

    def __init__(self, pairs: Iterator[tuple[TaskMessage, Fate]], publisher: Publisher) -> None:
        self._pairs = pairs
        self._publisher = publisher
        self._begun = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Delivery:
        self._begun = True
        return _delivery(*next(self._pairs))

    def require_accepted(self) -> int:
        """Send all that is left and return how many the broker has.

        Raises BrokerRefused, PublishUncertain (some may be queued) or PartlyDone when it did not take all of
        them, and what iterating raises.
        """
        self._begun = True
        accepted, refused = 0, 0
        first: FleetError | None = None
        for message, fate in self._pairs:
            error = self._publisher.refusal(message, fate)
            accepted += error is None
            refused += error is not None
            if first is None or (isinstance(error, PublishUncertain) and isinstance(first, BrokerRefused)):
                first = error
        if first is not None:
            raise _not_all(accepted, refused, first)
        return accepted

    def __del__(self) -> None:
        if not self._begun:
            warnings.warn("send_many was not iterated, so nothing was sent", RuntimeWarning, stacklevel=2)


def send_many(publisher: Publisher, fleet: Fleet, calls: Iterable[TaskCall]) -> Deliveries:
    """Return what sends ``calls`` while it is iterated; see ``Publisher.stream`` for what it raises."""
    destinations = Destinations(fleet)
    return Deliveries(publisher.stream(call.message(destinations) for call in calls), publisher)


def _delivery(message: TaskMessage, fate: Fate) -> Delivery:
    return Delivery(
        id=message.task_id,
        task=message.task,
        queue=message.queue.name,
        host=message.queue.host,
        key=message.key,
        fate=fate,
    )


def _not_all(accepted: int, refused: int, first: FleetError) -> FleetError:
    if not accepted:
        return first
    how = "may not be" if isinstance(first, PublishUncertain) else "were not"
    return PartlyDone(
        f"{refused} of {accepted + refused} tasks {how} queued: {first.message}", hint=first.hint
    )
