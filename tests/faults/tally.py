"""What became of the tasks that were accepted, judged by their own traces alone?

Pure: lines of effects, ids and deaths in, numbers out. No word of the software under test is taken for it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

#: a run that ended this long before its process died had its acknowledgement sent and heard
SETTLED_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process beginning one attempt of one task."""

    task_id: str
    #: 0, or which retry this is
    attempt: int
    host: str
    pid: int
    #: epoch seconds
    began: float
    #: epoch seconds of its last sign of life
    last: float
    has_ended: bool = False
    #: it ended by an error of its own
    has_failed: bool = False
    #: the task killed its own process
    killed_itself: bool = False

    @property
    def is_over(self) -> bool:
        """Tell whether it came to an end of its own, good or bad."""
        return self.has_ended or self.has_failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Processes that the harness ended by force."""

    host: str
    #: epoch seconds, just after the last of them was gone
    at: float
    #: every process of the host when None
    pids: frozenset[int] | None = None

    def took(self, run: Run) -> bool:
        """Tell whether ``run`` may have been going on, or unacknowledged, in a process that was ended."""
        is_here = self.host == run.host and (self.pids is None or run.pid in self.pids)
        return is_here and run.began <= self.at <= run.last + SETTLED_SECONDS + self._held(run)

    def _held(self, run: Run) -> float:
        # Without an end it was still running, however long ago it last said so.
        return 0.0 if run.is_over else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerDeath:
    """The broker that the harness ended by force, with what it had heard and not yet kept."""

    #: epoch seconds, just after it was gone
    at: float

    def took(self, run: Run) -> bool:
        """Tell whether the acknowledgement of ``run``, which had an end of its own, may have gone with it."""
        return run.is_over and run.began <= self.at <= run.last + SETTLED_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted."""

    accepted: int
    #: accepted and run to the end at least once
    executed: int
    #: begun once more though nobody was killed between the effect of the earlier run and its acknowledgement
    twice: tuple[str, ...]
    #: begun once more because somebody was: the process of the earlier run, by the harness or the task
    #: itself, or the broker
    in_doubt: tuple[str, ...]
    #: begun a second time while the first run went on
    beside: tuple[str, ...]
    dead_lettered: int
    #: accepted, not executed, and still in a queue when the case was over
    queued: int
    #: accepted, and neither executed nor dead-lettered nor queued
    lost: tuple[str, ...]


def runs_of(lines: Iterable[str]) -> tuple[Run, ...]:
    """Return the runs that ``lines`` tell of, in the order of their beginnings.

    Raises ValueError for a line that no task writes.
    """
    opened: dict[tuple[str, int, str, int], Run] = {}
    finished: list[Run] = []
    for line in lines:
        event, task_id, attempt, host, pid, at = _fields(line)
        key = (host, pid, task_id, attempt)
        if event == "start":
            if key in opened:
                finished.append(opened[key])
            opened[key] = Run(task_id=task_id, attempt=attempt, host=host, pid=pid, began=at, last=at)
        elif key not in opened:
            raise ValueError(f"`{event}` without a `start`: {line.strip()}")
        elif event in {"end", "fail"}:
            ended = replace(opened.pop(key), last=at, has_ended=event == "end", has_failed=event == "fail")
            finished.append(ended)
        else:
            opened[key] = replace(opened[key], last=at, killed_itself=event == "dies")
    return tuple(sorted((*finished, *opened.values()), key=lambda run: run.began))


def count(
    runs: Iterable[Run],
    *,
    accepted: Collection[str],
    dead_letters: Collection[str],
    queued: Collection[str],
    deaths: Sequence[Death | BrokerDeath] = (),
) -> Tally:
    """Return what became of the ``accepted`` ids."""
    wanted = frozenset(accepted)
    known = tuple(runs)
    again = {key: each for key, each in _by_attempt(known).items() if len(each) > 1}
    excused = {key for key, each in again.items() if all(_was_killed(run, deaths) for run in each[:-1])}
    executed = {run.task_id for run in known if run.has_ended} & wanted
    dead = wanted & frozenset(dead_letters)
    left = (wanted & frozenset(queued)) - executed - dead
    return Tally(
        accepted=len(wanted),
        executed=len(executed),
        twice=_ids(again.keys() - excused),
        in_doubt=_ids(excused),
        beside=_ids(key for key, each in again.items() if _overlap(each)),
        dead_lettered=len(dead),
        queued=len(left),
        lost=tuple(sorted(wanted - executed - dead - left)),
    )


def recovered_seconds(
    runs: Iterable[Run], *, over_at: float, given_up: Collection[str], host: str | None = None
) -> float:
    """Return how long after the end of the fault work went on, and what it had cut short was done.

    Infinity when that never happened. ``over_at``: epoch seconds at which the cause was gone; ``given_up``:
    ids of tasks that were dead-lettered; ``host``: where work must go on, anywhere when None.
    """
    known = tuple(runs)
    ends: dict[str, float] = {}
    for run in known:
        if run.has_ended:
            ends[run.task_id] = max(run.last, ends.get(run.task_id, run.last))
    cut = {run.task_id for run in known if run.began < over_at and not run.is_over} - frozenset(given_up)
    if cut - ends.keys():
        return inf
    # Where nothing more was there to begin, what was cut short is all that counts.
    begun = min(
        (run.began for run in known if run.began >= over_at and host in {None, run.host}), default=None
    )
    marks = [ends[task_id] for task_id in cut] + ([] if begun is None else [begun])
    return max(0.0, max(marks) - over_at) if marks else inf


def problems(tally: Tally, *, reruns: int, running: int, resent: int = 0) -> tuple[str, ...]:
    """Return what is wrong: nothing may be lost, at most ``reruns`` tasks run again.

    Of these, only as many as were ``running`` at the fault may run again with nobody killed in between, and
    those that were sent twice, which may be ``resent`` tasks; only of those two copies may run side by side.
    """
    again = len(tally.twice) + len(tally.in_doubt)
    twice = running + resent
    found = {
        f"lost {len(tally.lost)}: {_some(tally.lost)}": bool(tally.lost),
        f"started beside itself {len(tally.beside)}: {_some(tally.beside)}": len(tally.beside) > resent,
        f"left in a queue {tally.queued}": bool(tally.queued),
        "nothing was accepted": not tally.accepted,
        f"run again {again}, more than {reruns}: {_some(tally.twice + tally.in_doubt)}": again > reruns,
        f"run twice {len(tally.twice)}, more than {twice}: {_some(tally.twice)}": len(tally.twice) > twice,
    }
    return tuple(text for text, is_wrong in found.items() if is_wrong)


def _by_attempt(runs: Iterable[Run]) -> Mapping[tuple[str, int], list[Run]]:
    found: defaultdict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.task_id, run.attempt].append(run)
    return found


def _was_killed(run: Run, deaths: Iterable[Death | BrokerDeath]) -> bool:
    return run.killed_itself or any(death.took(run) for death in deaths)


def _overlap(runs: Sequence[Run]) -> bool:
    """Tell whether one of ``runs``, in order of their beginnings, showed life after another had begun."""
    return any(earlier.last > later.began for index, later in enumerate(runs) for earlier in runs[:index])


def _fields(line: str) -> tuple[str, str, int, str, int, float]:
    words = line.split()
    if len(words) != 6 or words[0] not in {"start", "beat", "dies", "fail", "end"}:
        raise ValueError(f"no line of a task: {line!r}")
    event, task_id, attempt, host, pid, at = words
    return event, task_id, int(attempt), host, int(pid), float(at)


def _ids(keys: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(sorted({task_id for task_id, _ in keys}))


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
