from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from fleet.model import ScheduleEntry
from fleet.schedule import occurrences, targets, upcoming
from tests.unit.schedule.fleets import fleet_with

BACKUP = ScheduleEntry(
    name="nightly", task="fleet.backup", every_seconds=100, kwargs={"backup": "etc"}, jitter_seconds=60
)
URLS = ScheduleEntry(name="urls", task="fleet.check_urls", every_seconds=30)


def test_a_shared_queue_gets_each_run_once() -> None:
    assert targets(fleet_with(URLS), URLS) == (None,)


def test_a_backup_runs_on_its_own_hosts_unless_the_entry_names_some() -> None:
    assert targets(fleet_with(BACKUP), BACKUP) == ("alpha", "beta")
    named = ScheduleEntry(name="one", task="fleet.backup", every_seconds=60, hosts=("al*",))
    assert targets(fleet_with(named), named) == ("alpha",)


def test_hosts_without_a_worker_for_the_queue_get_nothing() -> None:
    entry = ScheduleEntry(name="all", task="fleet.backup", every_seconds=60, hosts=("*",))
    assert targets(fleet_with(entry), entry) == ("alpha", "beta")


def test_each_host_is_shifted_by_its_own_part_of_the_window() -> None:
    fleet = fleet_with(BACKUP)
    (alpha,) = islice(upcoming(fleet, BACKUP, "alpha", after=1000), 1)
    (beta,) = islice(upcoming(fleet, BACKUP, "beta", after=1000), 1)
    assert alpha.slot % 100 == 0
    assert 0 <= alpha.due - alpha.slot < 60
    assert alpha.due - alpha.slot != beta.due - beta.slot


def test_a_run_has_the_same_key_whenever_it_is_looked_up() -> None:
    fleet = fleet_with(URLS)
    (early,) = occurrences(fleet, after=0, until=30)
    (late,) = occurrences(fleet, after=29, until=59)
    assert early.key == late.key == "schedule/urls/*/30"


@given(
    start=st.integers(min_value=0, max_value=10_000),
    first=st.integers(min_value=0, max_value=500),
    second=st.integers(min_value=0, max_value=500),
)
def test_a_window_cut_in_two_holds_the_same_runs(start: int, first: int, second: int) -> None:
    fleet = fleet_with(BACKUP, URLS)
    middle, end = start + first, start + first + second
    whole = occurrences(fleet, after=start, until=end)
    parts = occurrences(fleet, after=start, until=middle) + occurrences(fleet, after=middle, until=end)
    assert whole == parts
    assert len({run.key for run in whole}) == len(whole)


def test_runs_come_in_the_order_in_which_they_are_due() -> None:
    runs = occurrences(fleet_with(BACKUP, URLS), after=0, until=1000)
    assert [run.due for run in runs] == sorted(run.due for run in runs)


def test_one_entry_cannot_fill_the_memory() -> None:
    assert len(occurrences(fleet_with(URLS), after=0, until=10**9, limit=5)) == 5
