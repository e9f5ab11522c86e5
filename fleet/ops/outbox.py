"""What waits in this machine's outbox, and how does it get on?"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet.login import login_of
from fleet.model import Fleet
from fleet.outbox import Forwarded, KeptTask, Outbox, QueueBacklog, Volume, forward
from fleet.publish import Publisher


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTask:
    """A task of the outbox, as an operator may see it: its arguments are not shown."""

    #: place in the outbox, by which `fleet outbox discard` names it
    number: int
    id: str
    task: str
    #: name in the broker
    queue: str
    host: str | None
    key: str | None
    #: RFC 3339
    first_sent: str
    #: counted from ``first_sent``
    delay_seconds: float
    bytes: int
    #: why the broker would not have it when it was last tried
    refusal: str | None
    #: RFC 3339
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """What waits for one queue."""

    #: name in the broker
    queue: str
    messages: int
    bytes: int
    #: RFC 3339: when the first of them was sent
    oldest: str
    #: why the broker would not have the first one, which the others wait behind
    refusal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStatus:
    """How full an outbox is, and what with."""

    path: str
    messages: int
    bytes: int
    max_messages: int
    max_bytes: int
    #: RFC 3339; None when nothing was ever forwarded
    last_forward: str | None
    queues: tuple[QueueStatus, ...]


def open_outbox(fleet: Fleet, file: str | None) -> Outbox:
    """Return the outbox in ``file``, or in the usual place below the fleet's state directory."""
    if file is None:
        return Outbox.in_state_dir(fleet.state_dir, fleet=fleet.name)
    return Outbox(file, fleet=fleet.name)


def outbox_status(outbox: Outbox) -> OutboxStatus:
    """Return what ``outbox`` holds, by queue. Raises OutboxUnusable."""
    backlog = outbox.backlog()
    held = backlog.volume
    return OutboxStatus(
        path=str(outbox.path),
        messages=held.messages,
        bytes=held.bytes,
        max_messages=backlog.limits.messages,
        max_bytes=backlog.limits.bytes,
        last_forward=_moment(backlog.last_forward),
        queues=tuple(_queue(queue) for queue in backlog.queues),
    )


def list_tasks(outbox: Outbox, *, queue: str | None = None) -> tuple[ListedTask, ...]:
    """Return the tasks of ``outbox``, or those of one queue of the broker, first come first.

    Raises OutboxUnusable.
    """
    return tuple(
        _listed(task) for task in outbox.tasks() if queue is None or task.message.queue.name == queue
    )


def find_tasks(outbox: Outbox, numbers: Collection[int]) -> tuple[ListedTask, ...]:
    """Return the tasks of these numbers that are there. Raises OutboxUnusable."""
    return tuple(task for task in list_tasks(outbox) if task.number in numbers)


def limit_outbox(outbox: Outbox, *, messages: int | None, size: int | None) -> OutboxStatus:
    """Set what is given, keep the rest, and return what holds now. Raises OutboxUnusable."""
    before = outbox.backlog().limits
    outbox.set_limits(Volume(messages=messages or before.messages, bytes=size or before.bytes))
    return outbox_status(outbox)


@contextmanager
def forwarder(
    fleet: Fleet, outbox: Outbox, environ: Mapping[str, str], *, user: str | None = None
) -> Iterator[Callable[..., Forwarded]]:
    """Give what forwards ``outbox`` once, over a connection that is opened when needed and kept meanwhile.

    Raises UsageError or SecretMissing for the login.
    """
    login = login_of(fleet.broker, user, environ=environ)
    with Publisher(fleet, login.password, user=login.user, name="fleet outbox") as publisher:
        yield lambda **options: forward(outbox, publisher, **options)


def _queue(backlog: QueueBacklog) -> QueueStatus:
    return QueueStatus(
        queue=backlog.queue,
        messages=backlog.messages,
        bytes=backlog.bytes,
        oldest=_rfc3339(backlog.oldest),
        refusal=backlog.refusal,
    )


def _listed(kept: KeptTask) -> ListedTask:
    message = kept.message
    return ListedTask(
        number=kept.number,
        id=message.task_id,
        task=message.task,
        queue=message.queue.name,
        host=message.queue.host,
        key=message.key,
        first_sent=_rfc3339(message.first_sent or 0),
        delay_seconds=message.delay_seconds,
        bytes=kept.bytes,
        refusal=kept.refusal,
        refused=_moment(kept.refused),
    )


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else _rfc3339(seconds)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
