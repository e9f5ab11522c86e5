"""What do a worker and a beat tell about themselves at a scrape? Times are seconds since the epoch."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What a worker runs."""

    #: version of fleet
    fleet: str
    celery: str
    python: str
    #: prefork, threads or solo
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A run that goes on now."""

    task: str
    #: name of the queue in the broker
    queue: str
    #: when the run began
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """One worker at one moment."""

    versions: Versions
    #: when the worker's process began
    started: float
    #: child processes or threads
    pool_size: int
    running: tuple[RunningTask, ...]
    #: messages held and not started
    reserved: int
    #: unacknowledged messages the broker may give; 0 means no limit
    prefetch_limit: int
    #: names in the broker of every queue this worker should consume
    queues: tuple[str, ...]
    #: those of them that the broker delivers to this worker now
    consuming: tuple[str, ...]
    connected: bool
    #: broker connections opened after the first
    reconnects: int
    #: when the event loop last turned; None before its first turn and in pools without a loop
    loop_tick: float | None
    #: pool children that ended without being asked to, since the worker began
    child_exits: int
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryState:
    """One schedule entry as beat sees it."""

    name: str
    #: when it is due next; in the past while it is late; None when it never is again
    next_due: float | None
    #: when its message was last confirmed by the broker; None before the first time
    last_sent: float | None
    #: when a run of it was last given up as too late; None while none was
    last_missed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """Beat at one moment."""

    #: this beat holds the lease and sends
    active: bool
    entries: tuple[EntryState, ...]


class Health(Protocol):
    """What ``/healthz`` and ``/readyz`` ask; the second value becomes the answer's JSON."""

    def alive(self) -> tuple[bool, dict[str, object]]:
        """Tell whether this process should go on living."""
        ...

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Tell whether this process does its work now."""
        ...
