"""What is due now, what was missed, and when does the next look have to come?

Pure: the schedule, what was done so far, and the moment in; a decision out. A run that is late by no more
than its entry's grace is sent once; of several such runs of one entry only the newest. What is later than
that is missed: it is counted and never sent.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from fleet.model import Fleet, ScheduleEntry
from fleet.schedule import Occurrence, targets, upcoming

#: a smaller grace is taken for this one: a run is always sent some moments after it is due
LEAST_GRACE_SECONDS = 10
#: a mark that lies further ahead was made by a clock that was wrong, and its entry begins anew
CLOCK_STEP_SECONDS = 3600
#: missed runs of one entry on one host that are counted; after a long pause the rest is only passed over
MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far one entry has come on one host."""

    #: what the entry said when this was written; a changed entry starts afresh
    timing: str
    #: every run that is due until then is sent or given up (epoch seconds)
    settled: int
    #: when a message was last confirmed (epoch seconds); None before the first
    sent: float | None = None
    #: when a run was last given up (epoch seconds); None while none was
    missed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A run to be sent now."""

    run: Occurrence
    #: older runs of the same entry and host that this one stands for
    superseded: int
    #: when the oldest of them was due (epoch seconds)
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Runs that are too late to be sent."""

    #: the first of them
    run: Occurrence
    #: at most ``MOST_COUNTED``
    count: int
    #: the moment until which nothing can be sent any more (epoch seconds)
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do at one moment."""

    #: in the order of their moments
    due: tuple[Due, ...]
    missed: tuple[Missed, ...]
    #: marks of entries that are new or were changed
    begun: Mapping[str, Mark]
    #: mark key → when the oldest run that is not settled is or was due (epoch seconds)
    next_due: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """One entry on one host at one moment."""

    late: tuple[Occurrence, ...]
    open: tuple[Occurrence, ...]
    next: Occurrence | None


def mark_key(entry: str, host: str | None) -> str:
    """Return the name under which the mark of ``entry`` on ``host`` is kept."""
    return f"{entry}/{host or '*'}"


def entry_of(key: str) -> str:
    """Return the name of the entry whose mark is kept under ``key``."""
    return key.rpartition("/")[0]


def timing(fleet: Fleet, entry: ScheduleEntry) -> str:
    """Return what decides when ``entry`` runs, as one text to compare."""
    when = entry.crontab if entry.crontab is not None else f"every {entry.every_seconds} s"
    return f"{when} {fleet.timezone} jitter {entry.jitter_seconds} s"


def decide(fleet: Fleet, marks: Mapping[str, Mark], *, now: float) -> Decision:
    """Return what has to be done at ``now`` (epoch seconds), given how far each entry has come."""
    due: list[Due] = []
    missed: list[Missed] = []
    begun: dict[str, Mark] = {}
    next_due: dict[str, int] = {}
    for entry, host in _entries_on_hosts(fleet):
        key, text = mark_key(entry.name, host), timing(fleet, entry)
        mark = marks.get(key)
        if mark is None or mark.timing != text or mark.settled > now + CLOCK_STEP_SECONDS:
            # What was due before the entry existed is nobody's loss.
            mark = begun[key] = replace(mark or Mark(timing=text, settled=0), timing=text, settled=int(now))
        standing = _standing(fleet, entry, host, mark, now)
        if standing.late:
            until = _too_late(entry, now) - 1
            missed.append(Missed(run=standing.late[0], count=len(standing.late), until=until))
        if standing.open:
            newest, oldest = standing.open[-1], standing.open[0]
            due.append(Due(run=newest, superseded=len(standing.open) - 1, since=oldest.due))
        first = standing.open[0] if standing.open else standing.next
        if first is not None:
            next_due[key] = first.due
    return Decision(
        due=tuple(sorted(due, key=lambda each: (each.run.due, each.run.key))),
        missed=tuple(missed),
        begun=begun,
        next_due=next_due,
    )


def _entries_on_hosts(fleet: Fleet) -> Iterator[tuple[ScheduleEntry, str | None]]:
    for entry in fleet.schedule:
        for host in targets(fleet, entry):
            yield entry, host


def _standing(fleet: Fleet, entry: ScheduleEntry, host: str | None, mark: Mark, now: float) -> _Standing:
    too_late = _too_late(entry, now)
    passed = takewhile(lambda run: run.due < too_late, upcoming(fleet, entry, host, after=mark.settled))
    late = tuple(islice(passed, MOST_COUNTED))
    open_runs: list[Occurrence] = []
    for run in upcoming(fleet, entry, host, after=max(mark.settled, too_late - 1)):
        if run.due > now:
            return _Standing(late=late, open=tuple(open_runs), next=run)
        open_runs.append(run)
    return _Standing(late=late, open=tuple(open_runs), next=None)


def _too_late(entry: ScheduleEntry, now: float) -> int:
    """Return the moment before which a run must have been due to be given up."""
    return math.ceil(now - max(entry.grace_seconds, LEAST_GRACE_SECONDS))
