"""Is this text TOML, and if it is not, where and why?"""

import re
import tomllib
from typing import Any

from fleet.config.locate import Path, last_key, locate
from fleet.config.problems import dotted
from fleet.errors import Problem

# Python's exception carries its position as text only, until 3.14.
_PLACE = re.compile(r" \((?:at line (\d+), column \d+|at end of document)\)$")
#: how far the start of a statement is looked for, before the line in which it went wrong
_LONGEST_STATEMENT_LINES = 40


def read_toml(text: str, *, source: str) -> dict[str, Any] | Problem:
    """Return the document that ``text`` is, or what keeps it from being TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _explain(text, source, str(error))
    except ValueError:
        return Problem(file=source, key="", message="not valid TOML: a number has thousands of digits")


def _explain(text: str, source: str, reason: str) -> Problem:
    place = _PLACE.search(reason)
    line = int(place[1]) if place and place[1] else len(text.rstrip().split("\n"))
    twice = _declared_twice(text, line)
    if twice is None:
        message = f"not valid TOML: {_PLACE.sub('', reason)}"
        return Problem(file=source, key="", message=message, line=line)
    path, first_line, second_line = twice
    return Problem(
        file=source,
        key=dotted(path),
        message=f"is declared twice, first on line {first_line}",
        line=second_line,
        hint="rename one of them, or make them one",
    )


def _declared_twice(text: str, line: int) -> tuple[Path, int, int] | None:
    """Return key, first line and second line, where the statement that ends in ``line`` repeats a key."""
    lines = text.replace("\r\n", "\n").split("\n")
    for start in range(line, max(line - _LONGEST_STATEMENT_LINES, 0), -1):
        before, statement = "\n".join(lines[: start - 1]), "\n".join(lines[start - 1 : line])
        # The scanner reads well-formed text only: what stands before, and the one statement by itself.
        if _is_toml(before) and _is_toml(statement):
            path = last_key(f"{before}\n{statement}")
            first = locate(before).get(path)
            return (path, first, start) if first else None
    return None


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True
