"""How do the counts become the table of the delivery guarantees page, and stay there?

A row is known by case, broker and settings: measuring it again replaces it, the others stay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from tests.faults.tally import Tally

HEADINGS = (
    *("case", "broker", "settings", "accepted", "executed", "twice", "in doubt", "dead-lettered", "lost"),
    "recovered in s",
)
HEADING = "## Measured"
#: what the fleet is called in the column of settings
OURS = "fleet"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured case."""

    case: str
    broker: str
    settings: str
    #: the cells after those three
    counts: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it this row."""
        return self.case, self.broker, self.settings


def row(case: str, broker: str, settings: str, tally: Tally, recovered: float | None) -> Row:
    """Return the row of one measurement."""
    numbers = (tally.accepted, tally.executed, len(tally.twice), len(tally.in_doubt), tally.dead_lettered)
    lost = f"**{len(tally.lost)}**" if tally.lost else "0"
    seconds = "–" if recovered is None else "never" if recovered == inf else f"{recovered:.1f}"  # noqa: RUF001
    return Row(case=case, broker=broker, settings=settings, counts=(*map(str, numbers), lost, seconds))


def page_with(page: str, rows: Iterable[Row], *, order: Iterable[str]) -> str:
    """Return ``page`` with ``rows`` in its table, cases in ``order``; its other words stay as they are.

    Raises ValueError when the page has one of the two marks only.
    """
    before, old, after = _parts(page)
    merged = {each.key: each for each in (*_rows(old), *rows)}
    rank: Mapping[str, int] = MappingProxyType({name: index for index, name in enumerate(order)})
    known = sorted(merged.values(), key=lambda each: (rank.get(each.case, len(rank)), *_place(each)))
    return f"{before}{BEGIN}\n{_rendered(known)}{END}{after}"


def _parts(page: str) -> tuple[str, str, str]:
    if (BEGIN in page) != (END in page):
        raise ValueError(f"the page has one of `{BEGIN}` and `{END}` only")
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n{HEADING}\n\n", "", "\n"
    before, _, rest = page.partition(BEGIN)
    old, _, after = rest.partition(END)
    return before, old, after


def _rows(table: str) -> Iterable[Row]:
    for line in table.strip().splitlines()[2:]:
        case, broker, settings, *counts = (cell.strip() for cell in line.strip("|").split("|"))
        yield Row(case=case, broker=broker, settings=settings, counts=tuple(counts))


def _place(each: Row) -> tuple[str, str, bool, str]:
    """Return what sorts the rows of a case: by broker, ours before the others."""
    return each.case, each.broker, each.settings != OURS, each.settings


def _rendered(rows: Iterable[Row]) -> str:
    cells = [HEADINGS, tuple("---" for _ in HEADINGS)]
    cells += [(*each.key, *each.counts) for each in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
