"""Which letters are dealt with, how fast, and when is it over?

A pass takes no more letters than lay there when it began, so that a message which fails again cannot keep it
going; what has come back meanwhile is left alone. Letters that are not meant stay held until the pass ends,
which the broker bears for half an hour; a long replay ends its pass in time and begins another.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fleet.journal.record import Outcome
from fleet.letters.letter import Letter
from fleet.letters.look import Held
from fleet.letters.replay import Hindrance, in_batches
from fleet.letters.select import Selection
from fleet.ops.letters.treat import Treatment
from fleet.publish.channel import decisive

#: letters whose ends are looked up in the journal together
CHUNK = 250
#: letters in one batch, at most
BATCH = 100
#: batches per second, where the rate allows more than one letter in each
_BATCHES_PER_SECOND = 5
#: letters are put back after this time, well within the broker's consumer timeout
PASS_SECONDS = 600.0
#: an interruption is noticed within this time
_LONGEST_WAIT_SECONDS = 0.5
#: hindered letters that are shown
EXAMPLES = 20


class Shelf(Protocol):
    """What is needed of a look into a dead-letter queue."""

    @property
    def size(self) -> int:
        """Return how many letters lie there, and nobody holds."""
        ...

    @property
    def doubt(self) -> str | None:
        """Return, after its end, why letters that were acknowledged may be there again."""
        ...

    def letters(self, *, at_most: int | None = None) -> Iterator[Held]:
        """Yield letters, each held until it is acknowledged or the look ends."""
        ...

    def acknowledge(self, held: Held) -> None:
        """Take a letter out for good."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


class History(Protocol):
    """What is needed to know which error ended a letter's task."""

    def last(self, letters: Sequence[Letter]) -> Mapping[str, Outcome]:
        """Return how the letters' tasks ended, by task id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindered:
    """A letter that was meant, and could not be dealt with."""

    task_id: str | None
    task: str | None
    origin: str | None
    hindrance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done in one dead-letter queue, or with ``dry_run`` would be."""

    dead_letter_queue: str
    dry_run: bool
    #: letters that were looked at
    examined: int
    #: letters that were dealt with
    done: int
    #: letters that were meant, and could not be dealt with, by reason; they stay where they are
    hindered: Mapping[str, int]
    #: the first of them
    examples: tuple[Hindered, ...]
    #: why the broker did not take a letter, which ended the work; None when it took all
    stopped: str | None
    #: why letters that were dealt with may be there again; None when that cannot be
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done with which letters."""

    dead_letter_queue: str
    selection: Selection
    #: letters per second
    rate: float
    #: letters in all
    limit: int | None = None
    dry_run: bool = False


class Work:
    """Deals with the letters of one dead-letter queue."""

    def __init__(
        self,
        order: Order,
        treatment: Treatment,
        history: History,
        *,
        clock: Callable[[], float],
        progress: Callable[[int], None],
        is_interrupted: Callable[[], bool],
    ) -> None:
        self._order = order
        self._treatment = treatment
        self._history = history
        self._clock = clock
        self._progress = progress
        self._is_interrupted = is_interrupted
        self._began = clock()
        #: when the next batch may go
        self._turn = self._began
        self._done = 0
        self._stopped: str | None = None
        self._doubt: str | None = None
        self._examined = 0
        self._hindered: Counter[str] = Counter()
        self._examples: list[Hindered] = []

    def run(self, look: Callable[[], AbstractContextManager[Shelf]]) -> Report:
        """Deal with the letters, in as many passes as it takes."""
        first: int | None = None
        while True:
            with look() as shelf:
                first = shelf.size if first is None else first
                before = self._done
                is_over = self._pass(shelf, at_most=first - self._done)
            self._doubt = self._doubt or shelf.doubt
            if not is_over and self._done == before:
                self._stopped = "looking took too long for nothing; ask for less, such as one queue"
            if is_over or self._stopped is not None:
                return self._report()

    def _pass(self, shelf: Shelf, *, at_most: int) -> bool:
        """Deal with letters until there are no more, or time is up; return whether it is over."""
        self._examined, self._hindered, self._examples = 0, Counter(), []
        until = self._clock() + PASS_SECONDS
        for chunk in _chunks(shelf.letters(at_most=at_most), self._chunk_size()):
            if self._is_interrupted():
                return True
            self._examined += len(chunk)
            for batch in self._batches(self._meant(chunk)):
                self._treat(shelf, batch)
                if self._is_over():
                    return True
            if self._is_interrupted():
                return True
            if self._clock() >= until and not self._order.dry_run:
                return False
        return True

    def _is_over(self) -> bool:
        return self._stopped is not None or self._left() == 0 or self._is_interrupted()

    def _chunk_size(self) -> int:
        return CHUNK if self._order.selection.needs_outcome else self._batch_size()

    def _batch_size(self) -> int:
        return max(1, min(BATCH, int(self._order.rate / _BATCHES_PER_SECOND)))

    def _left(self) -> int | None:
        return None if self._order.limit is None else self._order.limit - self._done

    def _meant(self, chunk: Sequence[Held]) -> list[Held]:
        """Return the letters that are meant and can be dealt with, no more than are wanted."""
        now, selection = self._clock(), self._order.selection
        fitting = [held for held in chunk if selection.fits(held.letter, now=now)]
        if selection.needs_outcome and fitting:
            ends = self._history.last([held.letter for held in fitting])
            fitting = [
                held for held in fitting if selection.fits_outcome(ends.get(held.letter.task_id or ""))
            ]
        return [held for held in fitting if not self._is_hindered(held.letter, now)][: self._left()]

    def _is_hindered(self, letter: Letter, now: float) -> bool:
        # Both times are this machine's where it is this command that replayed it.
        came_back = letter.replayed is not None and letter.replayed >= self._began
        hindrance = Hindrance.CAME_BACK if came_back else self._treatment.judge(letter, now=now)
        if hindrance is None:
            return False
        self._hindered[hindrance.value] += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append(
                Hindered(
                    task_id=letter.task_id, task=letter.task, origin=letter.origin, hindrance=hindrance.value
                )
            )
        return True

    def _batches(self, meant: Sequence[Held]) -> Iterator[list[Held]]:
        for batch in in_batches([held.letter for held in meant], size=self._batch_size()):
            yield [meant[index] for index in batch]

    def _treat(self, shelf: Shelf, batch: Sequence[Held]) -> None:
        if self._order.dry_run:
            self._done += len(batch)
            return
        self._await_turn(shelf)
        if self._is_interrupted():
            return
        # Time that went into looking is not made up for: that would be a burst.
        self._turn = self._clock() + len(batch) / self._order.rate
        refusals = self._treatment.perform([held.letter for held in batch])
        for held, refusal in zip(batch, refusals, strict=True):
            if refusal is None:
                shelf.acknowledge(held)
                self._done += 1
        refusal = decisive(refusals)
        if refusal is not None:
            letter = batch[refusals.index(refusal)].letter
            self._stopped = f"{letter.origin}: {refusal.reason} (letter {letter.task_id})"
        self._progress(self._done)

    def _await_turn(self, shelf: Shelf) -> None:
        while (early := self._turn - self._clock()) > 0 and not self._is_interrupted():
            shelf.wait(min(early, _LONGEST_WAIT_SECONDS))

    def _report(self) -> Report:
        return Report(
            dead_letter_queue=self._order.dead_letter_queue,
            dry_run=self._order.dry_run,
            examined=self._examined,
            done=self._done,
            hindered=dict(self._hindered),
            examples=tuple(self._examples),
            stopped=self._stopped,
            doubt=self._doubt,
        )


def _chunks(letters: Iterator[Held], size: int) -> Iterator[list[Held]]:
    chunk: list[Held] = []
    for held in letters:
        chunk.append(held)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
