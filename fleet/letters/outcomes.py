"""How did the tasks of these dead letters end, and where? The journal says so, as long as it keeps it.

The broker notes why it moved a message, not which error ended its task: that is in the journal, with host and
worker. The journal is read only around the times at which the letters died, and for a bounded time.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from fleet.connection import Target
from fleet.journal.record import Outcome, decode_all
from fleet.journal.stream import Offset, StreamConsumer
from fleet.letters.letter import Letter
from fleet.letters.spans import Span, spans_around

#: for one join, however much the journal holds
READ_SECONDS = 20.0
#: silence that counts as the end of the journal
_SILENCE_SECONDS = 0.3
_FIRST_WAIT_SECONDS = 2.0
#: entries in a row beyond a span that mean its end; fewer may be those of a host whose clock is fast
_ENTRIES_BEYOND = 200


class Outcomes:
    """Reads what the journal says about the tasks of letters."""

    def __init__(self, target: Target, *, read_seconds: float = READ_SECONDS) -> None:
        self._target = target
        self._read_seconds = read_seconds
        self._tail: _Tail | None = None

    def last(self, letters: Iterable[Letter]) -> dict[str, Outcome]:
        """Return the outcome of each letter's task that is nearest to when it died, by task id.

        Raises BrokerUnreachable, or BrokerRefused when this user may not read the journal.
        """
        wanted = {letter.task_id: letter.died for letter in letters if letter.task_id and letter.died}
        found: dict[str, Outcome] = {}
        for outcome in self._read(spans_around(wanted.values()), wanted.keys()):
            died, known = wanted[outcome.task_id], found.get(outcome.task_id)
            if may_end(outcome) and (known is None or _distance(outcome, died) <= _distance(known, died)):
                found[outcome.task_id] = outcome
        return found

    def all_of(self, letter: Letter) -> tuple[Outcome, ...]:
        """Return every outcome of the letter's task, from its first attempt on, replays included."""
        if letter.task_id is None:
            return ()
        begin = letter.first_sent or letter.died or 0.0
        end = letter.died or begin
        span = Span(begin=begin - 60.0, end=end + 60.0)
        return tuple(self._read((span,), {letter.task_id}))

    def _read(self, spans: Iterable[Span], task_ids: Iterable[str]) -> list[Outcome]:
        wanted, deadline = frozenset(task_ids), time.monotonic() + self._read_seconds
        if self._tail is None:
            self._tail = self._find_tail()
        found: list[Outcome] = []
        for span in spans:
            if time.monotonic() >= deadline:
                break
            # From a moment after its end on, a stream only waits. But where that is, is the word of the last
            # record, whose host's clock may be slow, or which nobody here can read.
            may_be_past_end = span.begin > self._tail.finished
            wait = _SILENCE_SECONDS if may_be_past_end else _FIRST_WAIT_SECONDS
            outcomes = self._read_span(span, wanted, deadline, wait=wait, end=self._tail.offset)
            if outcomes is None and may_be_past_end:
                break
            found += outcomes or ()
        return found

    def _find_tail(self) -> "_Tail":
        """Look up once where the journal ends, which it does not say when it is read."""
        offset, finished, wait = -1, 0.0, _FIRST_WAIT_SECONDS
        with closing(StreamConsumer(self._target, "last")) as consumer:
            while entries := consumer.entries(wait):
                wait, offset = _SILENCE_SECONDS, entries[-1].offset
                times = [outcome.finished for entry in entries for outcome in decode_all(entry.body)]
                finished = max([finished, *times])
        return _Tail(offset=offset, finished=finished)

    def _read_span(
        self, span: Span, wanted: frozenset[str], deadline: float, *, wait: float, end: int
    ) -> list[Outcome] | None:
        """Return what the journal holds of ``wanted`` from the span's begin on; None when nothing came."""
        found: list[Outcome] | None = None
        beyond = 0
        with closing(StreamConsumer(self._target, _offset(span.begin))) as consumer:
            while time.monotonic() < deadline and (entries := consumer.entries(wait)):
                outcomes = [outcome for entry in entries for outcome in decode_all(entry.body)]
                found = (found or []) + [outcome for outcome in outcomes if outcome.task_id in wanted]
                is_beyond = all(outcome.finished > span.end for outcome in outcomes)
                beyond = beyond + len(entries) if is_beyond else 0
                if beyond >= _ENTRIES_BEYOND or entries[-1].offset >= end:
                    break
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """The newest record of the journal."""

    #: -1 when there is none
    offset: int
    finished: float


def may_end(outcome: Outcome) -> bool:
    """Tell whether a message can be a dead letter after this: it ran, and was neither sent anew nor kept."""
    return outcome.is_run and outcome.outcome not in ("retried", "requeued")


def _distance(outcome: Outcome, died: float) -> float:
    return abs(outcome.finished - died)


def _offset(moment: float) -> Offset:
    # py-amqp sends a naive moment as UTC.
    return datetime.fromtimestamp(max(moment, 0.0), UTC).replace(tzinfo=None)
