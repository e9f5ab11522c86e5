from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.backup.manifest import Manifest, Outcome
from fleet.backup.snapshots import (
    choose,
    is_snapshot_name,
    newest_good,
    prunable,
    shrink_reason,
    snapshot_name,
)
from fleet.errors import UsageError
from fleet.model import Retention
from tests.unit.backup.samples import manifest

DAY = timedelta(days=1)

histories = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from(list(Outcome))),
    max_size=12,
    unique_by=lambda entry: entry[0],
).map(lambda entries: [manifest(after=timedelta(hours=hours), outcome=outcome) for hours, outcome in entries])
retentions = st.builds(
    Retention,
    last=st.integers(0, 5),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 5),
    monthly=st.integers(0, 5),
)


def nights(count: int) -> list[Manifest]:
    return [manifest(after=night * DAY) for night in range(count)]


def test_a_name_tells_the_time_in_utc_and_sorts_by_it() -> None:
    eastern = timezone(timedelta(hours=2))
    name = snapshot_name(started=datetime(2026, 11, 21, 9, 30, tzinfo=eastern), task_id="t")
    assert name.startswith("2026-11-21T07-30-00Z_")
    assert is_snapshot_name(name)


def test_a_task_that_runs_twice_in_a_second_gets_two_names() -> None:
    moments = [datetime(2026, 1, 1, microsecond=part, tzinfo=UTC) for part in (1, 2)]
    assert len({snapshot_name(started=moment, task_id="t") for moment in moments}) == 2


@pytest.mark.parametrize("name", ["", "latest", "../etc", "2026-11-21T07-30-00Z_0a1b2c3d/..", "x"])
def test_anything_else_is_no_name(name: str) -> None:
    assert not is_snapshot_name(name)


def test_latest_means_the_newest_good_one() -> None:
    history = [*nights(2), manifest(after=3 * DAY, outcome=Outcome.PARTIAL)]
    assert choose(history) == history[1]


def test_a_partial_snapshot_is_had_by_its_name_only() -> None:
    partial = manifest(outcome=Outcome.PARTIAL)
    assert choose([partial], wanted=partial.snapshot) == partial
    with pytest.raises(UsageError, match="no good snapshot"):
        choose([partial])


def test_a_moment_means_the_snapshot_that_was_newest_then() -> None:
    history = nights(3)
    assert choose(history, at=history[1].started + timedelta(hours=5)) == history[1]
    with pytest.raises(UsageError, match="from 2025-12-31T02:30:00"):
        choose(history, at=history[0].started - DAY)


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match=r"no snapshot '\.\./\.\./etc'"):
        choose(nights(1), wanted="../../etc")


def test_the_last_ones_and_one_of_each_day_week_and_month_stay() -> None:
    history = nights(120)
    gone = prunable(history, Retention(last=3, daily=5, weekly=3, monthly=3))
    kept = [m.started.strftime("%m-%d") for m in history if m.snapshot not in gone]
    # The newest is 30 April, a Thursday: 26 and 19 April end their weeks, March and February their months.
    assert kept == ["02-28", "03-31", "04-19", "04-26", "04-27", "04-28", "04-29", "04-30"]


@given(history=histories, retention=retentions)
def test_the_newest_good_snapshot_always_stays(history: list[Manifest], retention: Retention) -> None:
    newest = newest_good(history)
    assert newest is None or newest.snapshot not in prunable(history, retention)


@given(history=histories, retention=retentions)
def test_nothing_more_goes_when_retention_is_asked_again(
    history: list[Manifest], retention: Retention
) -> None:
    gone = prunable(history, retention)
    assert prunable([m for m in history if m.snapshot not in gone], retention) == ()


@given(history=histories, retention=retentions)
def test_good_snapshots_stay_in_bounds(history: list[Manifest], retention: Retention) -> None:
    gone = prunable(history, retention)
    good = [m for m in history if m.is_good and m.snapshot not in gone]
    limit = max(1, retention.last) + retention.daily + retention.weekly + retention.monthly
    assert len(good) <= limit


@given(history=histories, retention=retentions)
def test_a_partial_snapshot_goes_once_a_good_one_is_newer(
    history: list[Manifest], retention: Retention
) -> None:
    newest = newest_good(history)
    gone = prunable(history, retention)
    partial = [m for m in history if not m.is_good]
    older = {m.snapshot for m in partial if newest and m.started < newest.started}
    assert {m.snapshot for m in partial} & set(gone) == older


def test_a_source_that_lost_half_its_files_stops_pruning_for_two_weeks() -> None:
    shrunk = manifest(after=3 * DAY, files=4)
    assert "4 files, a recent one 10" in (shrink_reason([*nights(3), shrunk]) or "")
    assert shrink_reason([*nights(3), manifest(after=20 * DAY, files=4)]) is None
    assert shrink_reason([*nights(3), manifest(after=3 * DAY, files=6)]) is None
    assert shrink_reason([]) is None
