"""What does the outbox know about a task that it keeps, and what is published when its time has come?

Pure: the message and the moment in, a text and the message out.
"""

import json
from dataclasses import dataclass, fields, replace

from fleet.publish.message import TaskMessage, for_rabbitmq
from fleet.routes import BrokerQueue

_QUEUE = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A number of tasks and their size."""

    messages: int
    #: of the messages themselves; the file is somewhat larger
    bytes: int

    def __add__(self, other: "Volume") -> "Volume":
        return Volume(messages=self.messages + other.messages, bytes=self.bytes + other.bytes)

    def fits(self, limits: "Volume") -> bool:
        """Tell whether this is within ``limits``."""
        return self.messages <= limits.messages and self.bytes <= limits.bytes


#: what an outbox keeps before it refuses more, unless its operator says otherwise
DEFAULT_LIMITS = Volume(messages=10_000, bytes=64 * 1024**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTask:
    """A task in the outbox."""

    #: place in the outbox: a smaller number of the same queue is published earlier
    number: int
    message: TaskMessage
    #: what it counts for in the outbox's limit
    bytes: int
    #: why the broker would not have it when it was last tried, or None
    refusal: str | None = None
    #: when that was (epoch seconds)
    refused: float | None = None
    #: why ``message`` only stands in for the one that is kept; None when it is that one
    unreadable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBacklog:
    """What waits for one queue of the broker."""

    #: name in the broker
    queue: str
    messages: int
    bytes: int
    #: when the first of them was sent (epoch seconds)
    oldest: float
    #: why the broker would not have the first one, which the others wait behind; None when it was not refused
    refusal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What an outbox holds."""

    #: in the order of their first tasks
    queues: tuple[QueueBacklog, ...] = ()
    limits: Volume = DEFAULT_LIMITS
    #: when forwarding was last begun (epoch seconds); None when it never was
    last_forward: float | None = None

    @property
    def volume(self) -> Volume:
        """Return how much waits, in all queues."""
        return Volume(
            messages=sum(queue.messages for queue in self.queues),
            bytes=sum(queue.bytes for queue in self.queues),
        )


def require_publishable(message: TaskMessage) -> None:
    """Raise UsageError for a message that could never be published: nobody would see that later on."""
    for_rabbitmq(message, now=0, origin="")


def to_text(message: TaskMessage) -> str:
    """Return ``message`` as it is kept, every field of it. Raises UsageError when it cannot be published."""
    require_publishable(message)
    values: dict[str, object] = {field.name: getattr(message, field.name) for field in fields(message)}
    queue = {field.name: getattr(message.queue, field.name) for field in fields(message.queue)}
    return json.dumps(values | {_QUEUE: queue, "kwargs": dict(message.kwargs)})


def from_text(text: str) -> TaskMessage:
    """Return the message that ``to_text`` wrote."""
    values = json.loads(text)
    values[_QUEUE] = BrokerQueue(**values[_QUEUE])
    values["args"] = tuple(values["args"])
    return TaskMessage(**values)


def stand_in(*, queue: str, task_id: str, first_sent: float) -> TaskMessage:
    """Return what to show in the place of a message that cannot be read; never to be published."""
    unknown = BrokerQueue(name=queue, queue="?", host=None, dead_letter_queue="?")
    return TaskMessage(task="?", queue=unknown, task_id=task_id, first_sent=first_sent)


def due_message(message: TaskMessage, *, now: float) -> TaskMessage:
    """Return what to publish now: a delay counts from the moment at which the task was first sent."""
    if not message.delay_seconds or message.first_sent is None:
        return message
    left = message.first_sent + message.delay_seconds - now
    # Not more than was asked for: a clock may have been set back.
    return replace(message, delay_seconds=min(max(left, 0.0), message.delay_seconds))
