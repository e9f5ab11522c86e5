from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import ScheduleEntry
from fleet.schedule import jitter_seconds, parse_crontab, slots_after

BERLIN = "Europe/Berlin"
MOMENTS = st.integers(min_value=1_700_000_000, max_value=1_900_000_000)


def entry(*, crontab: str | None = None, every: int | None = None, jitter: int = 0) -> ScheduleEntry:
    return ScheduleEntry(
        name="nightly", task="fleet.backup", crontab=crontab, every_seconds=every, jitter_seconds=jitter
    )


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def shown(slots: Iterable[int], count: int, timezone: str = BERLIN) -> list[str]:
    zone = ZoneInfo(timezone)
    return [datetime.fromtimestamp(slot, zone).isoformat(timespec="minutes") for slot in islice(slots, count)]


def berlin(crontab: str, after: str, count: int) -> list[str]:
    return shown(slots_after(entry(crontab=crontab), after=moment(after), timezone=BERLIN), count)


def test_monday_morning_is_on_mondays_in_local_time() -> None:
    assert berlin("30 7 * * 1", "2026-01-01T00:00+01:00", 2) == [
        "2026-01-05T07:30+01:00",
        "2026-01-12T07:30+01:00",
    ]


def test_a_time_inside_the_spring_gap_runs_once_when_the_gap_ends() -> None:
    assert berlin("30 2 * * *", "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_frequent_line_has_no_extra_runs_at_the_spring_gap() -> None:
    assert berlin("*/30 * * * *", "2026-03-29T01:29+01:00", 3) == [
        "2026-03-29T01:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:30+02:00",
    ]


def test_a_time_that_comes_twice_in_autumn_runs_the_first_time() -> None:
    assert berlin("30 2 * * *", "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_an_hourly_line_runs_in_both_hours_in_autumn() -> None:
    assert berlin("15 * * * *", "2026-10-25T01:30+02:00", 3) == [
        "2026-10-25T02:15+02:00",
        "2026-10-25T02:15+01:00",
        "2026-10-25T03:15+01:00",
    ]


def test_a_day_that_starts_with_a_gap_still_has_its_midnight_run() -> None:
    slots = slots_after(
        entry(crontab="0 0 * * *"), after=moment("2026-04-23T12:00+02:00"), timezone="Africa/Cairo"
    )
    assert shown(slots, 1, "Africa/Cairo") == ["2026-04-24T01:00+03:00"]


def test_leap_days_are_found_across_years_without_one() -> None:
    slots = slots_after(entry(crontab="0 0 29 2 *"), after=moment("2096-03-01T00:00+00:00"), timezone="UTC")
    assert shown(slots, 1, "UTC") == ["2104-02-29T00:00+00:00"]


@given(after=MOMENTS, every=st.integers(min_value=1, max_value=100_000))
def test_intervals_count_from_the_epoch(after: int, every: int) -> None:
    first, second = islice(slots_after(entry(every=every), after=after, timezone=BERLIN), 2)
    assert after < first <= after + every
    assert (first % every, second - first) == (0, every)


LINES = st.sampled_from(
    ["30 7 * * 1", "*/20 * * * *", "15 2 * * *", "0 */5 * * *", "0 3 1 * *", "45 1-3 * * 0"]
)
ZONES = st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])


@given(after=MOMENTS, line=LINES, timezone=ZONES)
def test_runs_ascend_and_each_follows_from_the_one_before(after: int, line: str, timezone: str) -> None:
    slots = list(islice(slots_after(entry(crontab=line), after=after, timezone=timezone), 5))
    assert after < slots[0]
    for earlier, later in pairwise(slots):
        assert earlier < later
        assert next(slots_after(entry(crontab=line), after=earlier, timezone=timezone)) == later
        assert next(slots_after(entry(crontab=line), after=later - 1, timezone=timezone)) == later


@given(after=MOMENTS, line=LINES)
def test_without_clock_changes_a_run_is_exactly_a_matching_minute(after: int, line: str) -> None:
    crontab = parse_crontab(line)
    found = next(slots_after(entry(crontab=line), after=after, timezone="UTC"))
    wall = datetime.fromtimestamp(found, UTC)
    assert crontab.matches_date(wall.date())
    assert (wall.hour in crontab.hours, wall.minute in crontab.minutes, wall.second) == (True, True, 0)


@given(days=st.integers(min_value=0, max_value=800), timezone=ZONES)
def test_a_daily_time_runs_exactly_once_on_every_day(days: int, timezone: str) -> None:
    zone = ZoneInfo(timezone)
    start = datetime(2026, 1, 1, 12, tzinfo=zone) + timedelta(days=days)
    slots = islice(
        slots_after(entry(crontab="15 2 * * *"), after=int(start.timestamp()), timezone=timezone), 4
    )
    found = [datetime.fromtimestamp(slot, zone).date() for slot in slots]
    assert found == [(start + timedelta(days=1 + n)).date() for n in range(4)]


@given(
    host=st.sampled_from([None, "", "alpha", "db-1", "ü"]), jitter=st.integers(min_value=0, max_value=7200)
)
def test_jitter_stays_within_its_window_and_never_changes(host: str | None, jitter: int) -> None:
    shift = jitter_seconds(entry(every=60, jitter=jitter), host)
    assert 0 <= shift < max(jitter, 1)
    assert shift == jitter_seconds(entry(every=60, jitter=jitter), host)


def test_hosts_are_spread_over_the_window() -> None:
    shifts = {jitter_seconds(entry(every=60, jitter=3600), f"host-{n}") for n in range(50)}
    assert len(shifts) > 40


@pytest.mark.parametrize(("after", "first"), [(99, 100), (100, 110), (101, 110)])
def test_a_run_at_the_very_moment_is_not_after_it(after: int, first: int) -> None:
    assert next(slots_after(entry(every=10), after=after, timezone="UTC")) == first
