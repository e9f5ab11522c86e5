"""Which runs are due between two moments, on which hosts, and under which key?"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from fleet.model import BACKUP_TASK, Backup, Fleet, Queue, ScheduleEntry
from fleet.routes import BrokerQueue, queue_for_task, route, serving_hosts
from fleet.schedule.slots import jitter_seconds, slots_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One run of one entry, for one host where the entry's queue is per host."""

    #: name of the schedule entry
    entry: str
    #: the host whose queue takes it; None for a shared queue
    host: str | None
    #: the moment that the schedule names (epoch seconds)
    slot: int
    #: the slot plus this host's part of the jitter (epoch seconds)
    due: int

    @property
    def key(self) -> str:
        """Return the idempotency key: the same run has the same key, whoever sends it and however often."""
        return f"schedule/{self.entry}/{self.host or '*'}/{self.slot}"


def targets(fleet: Fleet, entry: ScheduleEntry) -> tuple[str | None, ...]:
    """Return the hosts that each run of ``entry`` is sent to; (None,) where its queue is shared."""
    queue = queue_of(fleet, entry)
    if queue is None or not queue.per_host:
        return (None,)
    serving = serving_hosts(fleet, queue)
    backup = _backup_of(fleet, entry)
    patterns = entry.hosts or (backup.hosts if backup else ("*",))
    return tuple(host.name for host in fleet.hosts_for(patterns) if host.name in serving)


def destination(fleet: Fleet, entry: ScheduleEntry, host: str | None) -> BrokerQueue:
    """Return the queue that runs of ``entry`` on ``host`` go to. Raises UsageError when none takes them."""
    queue = queue_of(fleet, entry)
    return route(fleet, entry.task, host=host, queue=queue.name if queue else None)


def destinations(fleet: Fleet) -> tuple[BrokerQueue, ...]:
    """Return every queue that the schedule sends to, each once. Raises UsageError as ``destination`` does."""
    sent = (destination(fleet, entry, host) for entry in fleet.schedule for host in targets(fleet, entry))
    return tuple(dict.fromkeys(sent))


def upcoming(fleet: Fleet, entry: ScheduleEntry, host: str | None, *, after: int) -> Iterator[Occurrence]:
    """Yield the runs of ``entry`` on ``host`` that are due after ``after``, ascending and without end."""
    shift = jitter_seconds(entry, host)
    for slot in slots_after(entry, after=after - shift, timezone=fleet.timezone):
        yield Occurrence(entry=entry.name, host=host, slot=slot, due=slot + shift)


def occurrences(fleet: Fleet, *, after: int, until: int, limit: int = 10_000) -> tuple[Occurrence, ...]:
    """Return every run that is due after ``after`` and not after ``until``, in the order of their moments.

    ``limit`` bounds the runs of one entry on one host.
    """
    found: list[Occurrence] = []
    for entry in fleet.schedule:
        for host in targets(fleet, entry):
            runs = takewhile(lambda run: run.due <= until, upcoming(fleet, entry, host, after=after))
            found.extend(islice(runs, limit))
    return tuple(sorted(found, key=lambda run: (run.due, run.entry, run.host or "")))


def queue_of(fleet: Fleet, entry: ScheduleEntry) -> Queue | None:
    """Return the queue of the entry's messages: the backup's own, or the one its task is routed to."""
    backup = _backup_of(fleet, entry)
    return fleet.queue(backup.queue) if backup else queue_for_task(fleet, entry.task)


def _backup_of(fleet: Fleet, entry: ScheduleEntry) -> Backup | None:
    name = entry.kwargs.get("backup")
    return fleet.backup(name) if entry.task == BACKUP_TASK and isinstance(name, str) else None
