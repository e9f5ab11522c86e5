"""Which minutes does a crontab line mean?

The syntax is that of cron(5): five fields, names, lists, ranges, steps and ``@daily`` and friends. As in
cron, a line that restricts both the day of the month and the weekday means either of them. Celery's own
parser is not used: it takes a tenth of a second to import, and it reads such a line as both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

MACROS: Mapping[str, str] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: in a leap year, so that 29 February is a date
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class CrontabError(ValueError):
    """A crontab line cannot be read; the message names the field and the value seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    label: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    #: number of the first name
    first_name: int = 0


_FIELDS = (
    _Field(label="minute", low=0, high=59),
    _Field(label="hour", low=0, high=23),
    _Field(label="day of the month", low=1, high=31),
    _Field(label="month", low=1, high=12, names=_MONTHS, first_name=1),
    # Both 0 and 7 are Sunday.
    _Field(label="weekday", low=0, high=7, names=_WEEKDAYS),
)
_WEEKDAY = _FIELDS[4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """The minutes of a crontab line, in wall-clock time."""

    #: 0 to 59, ascending
    minutes: tuple[int, ...]
    #: 0 to 23, ascending
    hours: tuple[int, ...]
    #: 1 to 31
    days: frozenset[int]
    #: 1 to 12
    months: frozenset[int]
    #: 0 (Sunday) to 6
    weekdays: frozenset[int]
    #: both kinds of day are restricted, so one of them is enough
    either_day: bool

    @property
    def is_hourly(self) -> bool:
        """Tell whether the line runs in every hour of a day that it matches."""
        return len(self.hours) == 24

    def matches_date(self, day: date) -> bool:
        """Tell whether the line runs on ``day``."""
        if day.month not in self.months:
            return False
        by_month = day.day in self.days
        by_week = day.isoweekday() % 7 in self.weekdays
        return (by_month or by_week) if self.either_day else (by_month and by_week)


def parse_crontab(text: str) -> Crontab:
    """Return the minutes that the five fields of ``text`` mean.

    Raises CrontabError when it has not five fields, a field cannot be read, or no date ever matches.
    """
    fields = MACROS.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise CrontabError(
            f"crontab `{text}` has {len(fields)} fields, not 5: "
            "minute, hour, day of the month, month, weekday"
        )
    minutes, hours, days, months, weekdays = (
        _parse_field(value, field, text) for value, field in zip(fields, _FIELDS, strict=True)
    )
    either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either_day and min(days) > max(_MONTH_LENGTHS[month - 1] for month in months):
        raise CrontabError(f"crontab `{text}` never runs: no such day in that month")
    return Crontab(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=days,
        months=months,
        weekdays=frozenset(weekday % 7 for weekday in weekdays),
        either_day=either_day,
    )


def _parse_field(value: str, field: _Field, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in value.split(","):
        found.update(_parse_part(part, field, text))
    return frozenset(found)


def _parse_part(part: str, field: _Field, text: str) -> range:
    span, slash, step_text = part.partition("/")
    step = _parse_step(part, step_text, field, text) if slash else 1
    if span == "*":
        return range(field.low, field.high + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _parse_number(first_text, field, text)
    if not dash:
        if slash:
            raise CrontabError(
                f"crontab `{text}`: {field.label} `{part}` has a step without a range; "
                f"write `{first_text}-{field.high}/{step}` or `*/{step}`"
            )
        return range(first, first + 1)
    last = _parse_number(last_text, field, text)
    if field is _WEEKDAY and last == 0 and first > 0:
        # `fri-sun`: as the end of a range, Sunday is the seventh day.
        last = 7
    if last < first:
        raise CrontabError(
            f"crontab `{text}`: {field.label} `{span}` runs backwards; "
            f"write `{first_text}-{field.high},{field.low}-{last_text}`"
        )
    return range(first, last + 1, step)


def _parse_step(part: str, step_text: str, field: _Field, text: str) -> int:
    if not (step_text.isascii() and step_text.isdigit() and int(step_text) > 0):
        raise CrontabError(f"crontab `{text}`: {field.label} `{part}` has no whole step above 0 after `/`")
    return int(step_text)


def _parse_number(value: str, field: _Field, text: str) -> int:
    name = value.lower()
    if name in field.names:
        return field.names.index(name) + field.first_name
    if value.isascii() and value.isdigit() and field.low <= int(value) <= field.high:
        return int(value)
    names = f" or {field.names[0]}-{field.names[-1]}" if field.names else ""
    raise CrontabError(
        f"crontab `{text}`: {field.label} `{value}` is not within {field.low}-{field.high}{names}"
    )
