"""How does the schedule become messages, one look after the other?

Each run has an idempotency key and a task id of its own, made from entry, host and slot: should a run be sent
twice (after a crash between the broker's confirm and the note of it), workers and operators can tell.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fleet.beat.decide import Decision, Due, Mark, decide, entry_of, mark_key
from fleet.errors import BrokerUnreachable, FleetError
from fleet.metrics.state import EntryState, ScheduleState
from fleet.model import Fleet
from fleet.publish.message import TaskMessage, task_id_for_key
from fleet.schedule import Occurrence, destination

#: the longest sleep; after a change of the clock the schedule is right again within this time
LONGEST_PAUSE_SECONDS = 30.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 15.0

_log = logging.getLogger(__name__)


class Sender(Protocol):
    """What a scheduler needs of a publisher."""

    def send(self, message: TaskMessage) -> None:
        """Send ``message`` and return when the broker has it for certain."""
        ...


class Store(Protocol):
    """What a scheduler needs of its memory."""

    def load(self) -> dict[str, Mark]:
        """Return the marks that were saved last."""
        ...

    def save(self, marks: Mapping[str, Mark]) -> None:
        """Keep ``marks``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    """A pause before the next attempt, twice as long as the one before."""

    #: epoch seconds
    until: float
    #: seconds
    pause: float


def _next_hold(before: _Hold | None, now: float) -> _Hold:
    pause = min(before.pause * 2, LONGEST_RETRY_SECONDS) if before else FIRST_RETRY_SECONDS
    return _Hold(until=now + pause, pause=pause)


class Scheduler:
    """Sends what is due; call ``step`` again after the seconds that it returns."""

    def __init__(self, fleet: Fleet, store: Store, sender: Sender, *, clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._entries = {entry.name: entry for entry in fleet.schedule}
        self._store = store
        self._sender = sender
        self._clock = clock
        self._marks = store.load()
        #: mark key → pause of a run that the broker refused
        self._held: dict[str, _Hold] = {}
        #: pause of all runs while no broker node answers
        self._away: _Hold | None = None
        self._next_due: Mapping[str, int] = {}
        #: what kept the last run from being sent; None while all is well
        self.trouble: str | None = None
        #: when the last look began (epoch seconds)
        self.looked: float = 0.0

    def step(self) -> float:
        """Send what is due and return the seconds until the next look.

        Raises FleetError when what was done cannot be noted down.
        """
        now = self.looked = self._clock()
        decision = decide(self._fleet, self._marks, now=now)
        self._settle(decision)
        for due in decision.due:
            if self._away is None or now >= self._away.until:
                self._attempt(due, now)
        return self._pause()

    def snapshot(self) -> ScheduleState:
        """Return what beat tells at a scrape; called from another thread."""
        marks, next_due = self._marks, self._next_due
        return ScheduleState(
            active=True, entries=tuple(_entry_state(name, marks, next_due) for name in self._entries)
        )

    def _settle(self, decision: Decision) -> None:
        """Note new entries, and give up what is too late."""
        if not decision.begun and not decision.missed:
            return
        marks = self._marks | dict(decision.begun)
        for missed in decision.missed:
            run = missed.run
            key = mark_key(run.entry, run.host)
            marks[key] = replace(marks[key], settled=missed.until, missed=self._clock())
            self._held.pop(key, None)
            _log.error(
                "%s: %d runs missed, the first was due at %d%s",
                key,
                missed.count,
                run.due,
                f" ({self.trouble})" if self.trouble else "",
                extra={"event": "schedule_missed"},
            )
        self._keep(marks)

    def _attempt(self, due: Due, now: float) -> None:
        """Send one run and note it, or hold it back until its next attempt."""
        key = mark_key(due.run.entry, due.run.host)
        held = self._held.get(key)
        if held is not None and now < held.until:
            return
        try:
            self._sender.send(message_for(self._fleet, due.run))
        except BrokerUnreachable as error:
            self._away = _next_hold(self._away, self._clock())
            self._complain(key, error)
        except FleetError as error:
            self._away = None
            self._held[key] = _next_hold(held, self._clock())
            self._complain(key, error)
        else:
            self._note_sent(key, due)

    def _note_sent(self, key: str, due: Due) -> None:
        run = due.run
        self.trouble, self._away = None, None
        self._held.pop(key, None)
        mark = replace(self._marks[key], settled=run.due, sent=self._clock())
        self._keep(self._marks | {key: mark})
        _log.info(
            "%s: sent %s%s",
            key,
            task_id(self._fleet, run),
            f" in place of {due.superseded} earlier runs" if due.superseded else "",
            extra={"event": "schedule_sent"},
        )

    def _complain(self, key: str, error: FleetError) -> None:
        """Log a reason when it is new, not at every attempt."""
        if error.message != self.trouble:
            _log.warning("%s: not sent: %s", key, error.message, extra={"event": "schedule_held"})
        self.trouble = error.message

    def _keep(self, marks: Mapping[str, Mark]) -> None:
        # A mark of an entry that is no longer in the fleet file would only be in the way when it comes back.
        self._marks = {key: mark for key, mark in marks.items() if entry_of(key) in self._entries}
        self._store.save(self._marks)

    def _pause(self) -> float:
        now = self._clock()
        self._next_due = decide(self._fleet, self._marks, now=now).next_due
        moments = [self._held[key].until if key in self._held else due for key, due in self._next_due.items()]
        next_look = min(moments, default=now + LONGEST_PAUSE_SECONDS)
        if self._away is not None:
            next_look = max(next_look, self._away.until)
        return min(max(next_look - now, 0.0), LONGEST_PAUSE_SECONDS)


def task_id(fleet: Fleet, run: Occurrence) -> str:
    """Return the id of the run's task: the same whoever sends it, and however often."""
    entry = next(entry for entry in fleet.schedule if entry.name == run.entry)
    return task_id_for_key(fleet.name, entry.task, run.key)


def message_for(fleet: Fleet, run: Occurrence) -> TaskMessage:
    """Return the message of one run. Raises UsageError when no queue of the fleet takes it."""
    entry = next(entry for entry in fleet.schedule if entry.name == run.entry)
    return TaskMessage(
        task=entry.task,
        queue=destination(fleet, entry, run.host),
        task_id=task_id(fleet, run),
        kwargs=entry.kwargs,
        key=run.key,
    )


def _entry_state(name: str, marks: Mapping[str, Mark], next_due: Mapping[str, int]) -> EntryState:
    """Return how an entry stands, all of its hosts together."""
    own = [mark for key, mark in marks.items() if entry_of(key) == name]
    return EntryState(
        name=name,
        next_due=min((due for key, due in next_due.items() if entry_of(key) == name), default=None),
        last_sent=max((mark.sent for mark in own if mark.sent is not None), default=None),
        last_missed=max((mark.missed for mark in own if mark.missed is not None), default=None),
    )
