"""How are the problems of one fleet file gathered, so that an operator sees all of them at once?"""

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from fleet.config.locate import Path
from fleet.errors import Problem

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: names that a hint lists where none of them is close
_MOST_NAMES = 12


class Problems:
    """Collects problems by key path and gives them out in the order of the file."""

    def __init__(self, *, source: str, lines: Mapping[Path, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[Problem] = []

    def add(self, path: Path, message: str, *, hint: str | None = None) -> None:
        """Note that something is wrong at ``path``."""
        problem = Problem(
            file=self._source,
            key=dotted(path),
            message=printable(message),
            line=self._line(path),
            hint=hint and printable(hint),
        )
        if problem not in self._found:
            self._found.append(problem)

    def in_order(self) -> tuple[Problem, ...]:
        """Return what was found, by line."""
        return tuple(sorted(self._found, key=lambda problem: (problem.line or 0, problem.key)))

    def _line(self, path: Path) -> int | None:
        """Return the line of ``path``, or of the closest table around it that the file has."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return None


def printable(text: str) -> str:
    """Return ``text`` with what could steer a terminal, such as an escape character, written out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def dotted(path: Path) -> str:
    """Return ``path`` as an operator writes it, such as ``queues.email.tasks[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE_KEY.fullmatch(part) else printable(json.dumps(part, ensure_ascii=False))
            text += f".{name}" if text else name
    return text


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return which of ``known`` was probably meant by ``name``, or None."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the closest of ``known``, or lists them where none is close."""
    names = list(dict.fromkeys(known))
    close = closest(name, names)
    if close is not None:
        return f"did you mean `{close}`?"
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f"known: {', '.join(names[:_MOST_NAMES])}{more}" if names else None
