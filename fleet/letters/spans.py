"""When must the journal be read to learn how some tasks ended? Pure: moments in, spans out."""

from collections.abc import Iterable
from dataclasses import dataclass

#: the journal is written within this time of a message's death, unless the broker was away meanwhile
BEFORE_SECONDS = 60.0
AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of time (epoch seconds), both ends included."""

    begin: float
    end: float


def spans_around(
    moments: Iterable[float], *, before: float = BEFORE_SECONDS, after: float = AFTER_SECONDS
) -> tuple[Span, ...]:
    """Return the least spans that hold each moment with its surroundings, in order, none touching another."""
    found: list[Span] = []
    for moment in sorted(moments):
        begin, end = moment - before, moment + after
        if found and begin <= found[-1].end:
            found[-1] = Span(begin=found[-1].begin, end=end)
        else:
            found.append(Span(begin=begin, end=end))
    return tuple(found)
