"""At which moments does an entry run, clock changes included, and how far is each host shifted?

Where clocks go forward, a time that does not exist runs once, at the first moment after the gap. Where clocks
go back, a time that comes twice runs once, the first time; only a line that runs in every hour runs in both.
So a daily run happens once on every day, and an hourly run once in every hour that passes.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import count
from zoneinfo import ZoneInfo

from fleet.model import ScheduleEntry
from fleet.schedule.crontab import Crontab, parse_crontab

#: clocks never go back by more; hours before that need no look
_LONGEST_STEP_BACK_HOURS = 3


def slots_after(entry: ScheduleEntry, *, after: int, timezone: str) -> Iterator[int]:
    """Yield the epoch seconds of the entry's runs after ``after``, ascending and without end.

    Intervals count from the epoch, so every host and every restart agree on them.
    """
    if entry.every_seconds is not None:
        every = entry.every_seconds
        return count((after // every + 1) * every, every)
    assert entry.crontab is not None
    return _crontab_slots(parse_crontab(entry.crontab), after=after, zone=ZoneInfo(timezone))


def jitter_seconds(entry: ScheduleEntry, host: str | None) -> int:
    """Return the part of the entry's jitter window by which this host's runs are shifted, always the same."""
    if entry.jitter_seconds <= 0:
        return 0
    digest = sha256(f"{entry.name}\0{host or ''}".encode()).digest()
    return int.from_bytes(digest[:8]) % entry.jitter_seconds


def _crontab_slots(crontab: Crontab, *, after: int, zone: ZoneInfo) -> Iterator[int]:
    start = datetime.fromtimestamp(after, zone)
    first_hour = start.hour - _LONGEST_STEP_BACK_HOURS
    day, last = start.date(), after
    while day < date.max:
        if crontab.matches_date(day):
            for moment in _moments_of(crontab, day, zone, first_hour=first_hour):
                if moment > last:
                    yield moment
                    last = moment
        day, first_hour = day + timedelta(days=1), 0


def _moments_of(crontab: Crontab, day: date, zone: ZoneInfo, *, first_hour: int) -> Iterator[int]:
    for hour in crontab.hours:
        if hour < first_hour:
            continue
        # By the hour, because where clocks go back both passes of an hour precede the next hour.
        found: set[int] = set()
        for minute in crontab.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            found.update(_moments_at(wall, is_hourly=crontab.is_hourly))
        yield from sorted(found)


def _moments_at(wall: datetime, *, is_hourly: bool) -> tuple[int, ...]:
    """Return the moments at which clocks show ``wall``: one, both of two, or the end of the gap."""
    first, second = int(wall.timestamp()), int(wall.replace(fold=1).timestamp())
    if first == second:
        return (first,)
    if first < second:
        return (first, second) if is_hourly else (first,)
    # Inside a gap the two readings lie on either side of the change (PEP 495).
    return (_clock_change(second, first, wall),)


def _clock_change(before: int, after: int, wall: datetime) -> int:
    """Return the first moment in (before, after] with the later moment's UTC offset, by bisection."""
    zone = wall.tzinfo
    offset_after = datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset_after:
            after = middle
        else:
            before = middle
    return after
