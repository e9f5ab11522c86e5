"""Which dead letters are meant? Pure: a letter, what ended it and the moment in, yes or no out."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleet.journal.record import Outcome
from fleet.letters.letter import Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a letter must be like; nothing given means every letter."""

    #: ids of tasks
    ids: frozenset[str] = frozenset()
    #: name or glob of the task
    task: str | None = None
    #: reason, or a glob
    reason: str | None = None
    #: class of the error that ended it, or a glob
    exception: str | None = None
    #: came here before, or since, that many seconds ago
    older_than_seconds: int | None = None
    newer_than_seconds: int | None = None

    @property
    def is_everything(self) -> bool:
        """Tell whether nothing is asked of a letter."""
        return self == Selection()

    @property
    def needs_outcome(self) -> bool:
        """Tell whether only the journal can say which letters are meant."""
        return self.exception is not None

    def fits(self, letter: Letter, *, now: float) -> bool:
        """Tell whether ``letter`` is meant, as far as it can tell by itself."""
        return (
            (not self.ids or letter.task_id in self.ids)
            and _matches(letter.task, self.task)
            and _matches(letter.reason, self.reason)
            and self._fits_age(letter.died, now)
        )

    def fits_outcome(self, outcome: Outcome | None) -> bool:
        """Tell whether how the task ended is what is meant; what is not known is not meant."""
        return self.exception is None or (outcome is not None and _matches(outcome.error, self.exception))

    def _fits_age(self, died: float | None, now: float) -> bool:
        if self.older_than_seconds is None and self.newer_than_seconds is None:
            return True
        if died is None:
            return False
        age = now - died
        return (self.older_than_seconds is None or age >= self.older_than_seconds) and (
            self.newer_than_seconds is None or age <= self.newer_than_seconds
        )


def _matches(value: str | None, pattern: str | None) -> bool:
    return pattern is None or (value is not None and fnmatchcase(value, pattern))
