"""What does one check of the broker say?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet.doctor.facts import Facts


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: works now; it costs safety, or will not work for ever
    WARN = "warn"
    #: something that the fleet counts on does not hold
    FAIL = "fail"
    #: could not be seen
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of a check."""

    level: Level
    message: str
    #: what to do next
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check, with the check's name."""

    check: str
    level: Level
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question about the broker."""

    name: str
    #: what it looks at, in a few words, for the manual
    about: str
    #: names of the fields of ``Facts`` without which it cannot be answered
    needs: tuple[str, ...]
    run: Callable[["Facts"], Iterator[Verdict]]


def ok(message: str) -> Verdict:
    """Return that all is well."""
    return Verdict(level=Level.OK, message=message)


def warn(message: str, hint: str) -> Verdict:
    """Return what should be changed some day."""
    return Verdict(level=Level.WARN, message=message, hint=hint)


def fail(message: str, hint: str) -> Verdict:
    """Return what is wrong."""
    return Verdict(level=Level.FAIL, message=message, hint=hint)


def unknown(message: str, hint: str) -> Verdict:
    """Return what could not be seen."""
    return Verdict(level=Level.UNKNOWN, message=message, hint=hint)
