"""Which dead letters lie there, what is known about one of them, and how is a copy of them kept?"""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

from fleet.errors import BrokerRefused
from fleet.journal.record import Outcome
from fleet.letters.letter import Death, Letter
from fleet.letters.look import Look
from fleet.letters.outcomes import Outcomes, may_end
from fleet.letters.select import Selection
from fleet.ops.letters.access import Access

#: letters whose ends are looked up in the journal together
CHUNK = 250

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One letter in a list; nothing of its arguments."""

    task_id: str | None
    task: str | None
    #: why it is a dead letter
    reason: str
    #: more about it, from the worker's gate
    detail: str | None
    #: class and text of the error that ended its task, as far as the journal knows
    error: str | None
    error_message: str | None
    #: the host it died on; None when it is not known
    host: str | None
    #: broker queue that it came from
    origin: str | None
    dead_letter_queue: str
    #: epoch seconds
    died: float | None
    first_sent: float | None
    #: idempotency key
    key: str | None
    retries: int
    replays: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a list found."""

    lines: tuple[Line, ...]
    #: letters in the queues that nobody else held
    there: int
    #: the list ends at its limit: there may be more
    is_cut: bool
    #: dead-letter queues into which somebody else looks; what they hold is not seen
    shared: tuple[str, ...]
    #: why errors and hosts are not known; None when the journal could be read
    journal_trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Letters that are alike."""

    dead_letter_queue: str
    task: str | None
    reason: str
    error: str | None
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """All that is known about one letter, its body apart."""

    line: Line
    #: the broker's notes, the newest first
    deaths: tuple[Death, ...]
    #: the journal's records of its task: attempts, replays
    history: tuple[Outcome, ...]
    #: why there is no history; None when the journal could be read
    journal_trouble: str | None
    letter: Letter


class Journal:
    """Looks up how tasks ended; unless that is ``required``, a journal that may not be read is a gap."""

    def __init__(self, outcomes: Outcomes, *, required: bool = False) -> None:
        self._outcomes = outcomes
        self._required = required
        #: why nothing is known; None when the journal could be read
        self.trouble: str | None = None

    def last(self, letters: Sequence[Letter]) -> Mapping[str, Outcome]:
        """Return how the letters' tasks ended, by task id. Raises BrokerRefused when that is required."""
        return {} if self.trouble else self._ask(lambda: self._outcomes.last(letters), {})

    def all_of(self, letter: Letter) -> tuple[Outcome, ...]:
        """Return every record of the letter's task."""
        return self._ask(lambda: self._outcomes.all_of(letter), ())

    def _ask(self, question: Callable[[], T], gap: T) -> T:
        try:
            return question()
        except BrokerRefused as error:
            if self._required:
                raise
            self.trouble = error.message
            return gap


def list_letters(access: Access, selection: Selection, *, limit: int, now: float) -> Listing:
    """Return the first ``limit`` letters that are meant, queue by queue.

    Raises BrokerUnreachable or BrokerRefused.
    """
    journal = _journal(access, selection)
    lines: list[Line] = []
    there, is_cut, shared = 0, False, []
    for queue in access.queues:
        with access.look(queue) as look:
            there += look.size
            shared += [queue] if look.others else []
            left = limit + 1 - len(lines)
            # The broker sends a page at a time; for a few letters a small one.
            at_most = left if selection.is_everything else None
            found = _meant(look, selection, journal, now=now, at_most=at_most)
            lines += [_line(letter, outcome) for letter, outcome in islice(found, left)]
        if len(lines) > limit:
            is_cut = True
            break
    return Listing(
        lines=tuple(lines[:limit]),
        there=there,
        is_cut=is_cut,
        shared=tuple(shared),
        journal_trouble=journal.trouble,
    )


def count_letters(access: Access, selection: Selection, *, now: float) -> tuple[Group, ...]:
    """Return how many letters are alike in queue, task, reason and error, the most frequent first."""
    journal = _journal(access, selection)
    counts: Counter[tuple[str, str | None, str, str | None]] = Counter()
    for queue in access.queues:
        with access.look(queue) as look:
            for letter, outcome in _meant(look, selection, journal, now=now):
                counts[queue, letter.task, letter.reason, outcome.error if outcome else None] += 1
    return tuple(
        Group(dead_letter_queue=queue, task=task, reason=reason, error=error, count=count)
        for (queue, task, reason, error), count in counts.most_common()
    )


def show_letters(access: Access, task_id: str, *, now: float) -> tuple[Details, ...]:
    """Return what is known about each letter of task ``task_id``."""
    journal = Journal(access.outcomes())
    selection = Selection(ids=frozenset({task_id}))
    found: list[Details] = []
    for queue in access.queues:
        with access.look(queue) as look:
            letters = [h.letter for h in look.letters() if selection.fits(h.letter, now=now)]
        for letter in letters:
            history = journal.all_of(letter)
            last = next((outcome for outcome in reversed(history) if may_end(outcome)), None)
            line = _line(letter, last)
            found.append(
                Details(
                    line=line,
                    deaths=letter.deaths,
                    history=history,
                    journal_trouble=journal.trouble,
                    letter=letter,
                )
            )
    return tuple(found)


def export_letters(access: Access, selection: Selection, *, now: float) -> Iterator[dict[str, Any]]:
    """Yield each letter that is meant as a JSON-like record, with headers, properties and body."""
    journal = _journal(access, selection)
    for queue in access.queues:
        with access.look(queue) as look:
            for letter, outcome in _meant(look, selection, journal, now=now):
                yield _exported(letter, outcome)


def _journal(access: Access, selection: Selection) -> Journal:
    return Journal(access.outcomes(), required=selection.needs_outcome)


def _meant(
    look: Look, selection: Selection, journal: Journal, *, now: float, at_most: int | None = None
) -> Iterator[tuple[Letter, Outcome | None]]:
    letters = (held.letter for held in look.letters(at_most=at_most))
    fitting = (letter for letter in letters if selection.fits(letter, now=now))
    for chunk in _chunks(fitting, CHUNK):
        ends = journal.last(chunk)
        for letter in chunk:
            outcome = ends.get(letter.task_id or "")
            if selection.fits_outcome(outcome):
                yield letter, outcome


def _chunks(letters: Iterable[Letter], size: int) -> Iterator[list[Letter]]:
    rest = iter(letters)
    while chunk := list(islice(rest, size)):
        yield chunk


def _line(letter: Letter, outcome: Outcome | None) -> Line:
    return Line(
        task_id=letter.task_id,
        task=letter.task,
        reason=letter.reason,
        detail=letter.detail,
        error=outcome.error if outcome else None,
        error_message=outcome.message if outcome else None,
        host=letter.refused_host or (outcome.host if outcome else None),
        origin=letter.origin,
        dead_letter_queue=letter.dead_letter_queue,
        died=letter.died,
        first_sent=letter.first_sent,
        key=letter.key,
        retries=letter.retries,
        replays=letter.replays,
        size_bytes=len(letter.body),
    )


def _exported(letter: Letter, outcome: Outcome | None) -> dict[str, Any]:
    return {
        **asdict(_line(letter, outcome)),
        "headers": _with_text_names(letter.headers),
        "properties": dict(letter.properties),
        "body_base64": base64.b64encode(letter.body).decode(),
    }


def _with_text_names(value: Any) -> Any:
    """Return ``value`` with each name in it as text; one that is no UTF-8 has come as bytes."""
    if isinstance(value, Mapping):
        return {_text(name): _with_text_names(inner) for name, inner in value.items()}
    return [_with_text_names(inner) for inner in value] if isinstance(value, list) else value


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
