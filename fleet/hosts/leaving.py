"""Which lines of a fleet file speak of a host that is to leave? Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from fleet.config.locate import locate


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the fleet file."""

    number: int
    text: str
    #: it goes as a whole; otherwise the host's name in it does, or what it says needs another host
    goes: bool


def lines_of(text: str, host: str) -> tuple[Line, ...]:
    """Return the lines of the host's own table, and those that name it elsewhere, in their order.

    A host that a label or a glob means is named nowhere else.
    """
    lines = text.splitlines()
    own = set(_own_table(text, len(lines), host))
    quoted = (f'"{host}"', f"'{host}'")
    return tuple(
        Line(number=number, text=line.rstrip(), goes=number in own)
        for number, line in enumerate(lines, start=1)
        if number in own or (any(name in line for name in quoted) and not line.lstrip().startswith("#"))
    )


def _own_table(text: str, last: int, host: str) -> Iterator[int]:
    """Yield the numbers of the lines from the first of the host's table to the last that is not blank."""
    found = locate(text)
    mine = [line for path, line in found.items() if path[:2] == ("hosts", host)]
    if not mine:
        return
    others = [line for path, line in found.items() if path[:2] != ("hosts", host) and line > max(mine)]
    # A value may go on over several lines, up to what comes next.
    end = min(others, default=last + 1)
    lines = text.splitlines()
    numbers = list(range(min(mine), end))
    while numbers and not lines[numbers[-1] - 1].strip():
        numbers.pop()
    # Comments in front of the next table are its own.
    while numbers and lines[numbers[-1] - 1].lstrip().startswith("#"):
        numbers.pop()
    while numbers and not lines[numbers[-1] - 1].strip():
        numbers.pop()
    yield from numbers
