from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.beat.decide import (
    CLOCK_STEP_SECONDS,
    LEAST_GRACE_SECONDS,
    MOST_COUNTED,
    Decision,
    Mark,
    decide,
    timing,
)
from fleet.model import ScheduleEntry
from tests.unit.schedule.fleets import fleet_with

ENTRY = ScheduleEntry(name="urls", task="fleet.check_urls", every_seconds=10, grace_seconds=30)
BACKUP = ScheduleEntry(
    name="nightly",
    task="fleet.backup",
    crontab="0 3 * * *",
    kwargs={"backup": "etc"},
    jitter_seconds=600,
    grace_seconds=900,
)
FLEET = fleet_with(ENTRY)
TIMING = timing(FLEET, ENTRY)


def at(now: float, *, settled: int | None = None) -> Decision:
    marks = {} if settled is None else {"urls/*": Mark(timing=TIMING, settled=settled)}
    return decide(FLEET, marks, now=now)


def test_a_run_is_due_at_its_moment_and_not_before() -> None:
    assert at(109.9, settled=100).due == ()
    (due,) = at(110, settled=100).due
    assert (due.run.slot, due.superseded) == (110, 0)


def test_a_run_that_was_sent_is_not_due_again() -> None:
    assert at(119, settled=110).due == ()


def test_several_late_runs_are_sent_once_as_the_newest() -> None:
    (due,) = at(135, settled=100).due
    assert (due.run.slot, due.superseded, due.since) == (130, 2, 110)
    assert at(135, settled=100).missed == ()


def test_what_is_later_than_its_grace_is_missed_and_not_sent() -> None:
    decision = at(145, settled=100)
    (missed,) = decision.missed
    assert (missed.run.slot, missed.count, missed.until) == (110, 1, 114)
    assert [due.run.slot for due in decision.due] == [140]


def test_after_a_long_pause_the_misses_are_passed_over_at_once() -> None:
    (missed,) = at(1_000_000, settled=100).missed
    assert missed.count == MOST_COUNTED
    assert at(1_000_000, settled=missed.until).missed == ()


def test_an_entry_that_is_new_begins_now() -> None:
    decision = at(1005)
    assert decision.due == ()
    assert decision.begun == {"urls/*": Mark(timing=TIMING, settled=1005)}
    assert decision.next_due == {"urls/*": 1010}


def test_an_entry_that_was_changed_begins_now_and_keeps_when_it_was_last_sent() -> None:
    marks = {"urls/*": Mark(timing="every 7 s", settled=100, sent=99.5)}
    decision = decide(FLEET, marks, now=1005)
    assert decision.due == ()
    assert decision.begun["urls/*"] == Mark(timing=TIMING, settled=1005, sent=99.5)


def test_an_entry_that_is_late_is_still_due_at_its_own_moment() -> None:
    assert at(125, settled=100).next_due == {"urls/*": 110}
    assert at(125, settled=120).next_due == {"urls/*": 130}


def test_an_entry_without_grace_is_sent_all_the_same() -> None:
    fleet = fleet_with(replace(ENTRY, grace_seconds=0))
    decision = decide(fleet, {"urls/*": Mark(timing=TIMING, settled=100)}, now=110.2)
    assert [due.run.slot for due in decision.due] == [110]


def test_a_clock_that_was_far_ahead_does_not_silence_an_entry() -> None:
    ahead = 1000 + CLOCK_STEP_SECONDS
    assert at(1000, settled=ahead).begun == {}
    assert at(1000, settled=ahead + 1).begun == {"urls/*": Mark(timing=TIMING, settled=1000)}


def test_each_host_of_a_backup_has_its_own_runs() -> None:
    fleet = fleet_with(BACKUP)
    begun = decide(fleet, {}, now=0).begun
    assert set(begun) == {"nightly/alpha", "nightly/beta"}
    due = decide(fleet, begun, now=3 * 3600 + 600).due
    assert {each.run.host for each in due} == {"alpha", "beta"}
    assert [each.run.due for each in due] == sorted(each.run.due for each in due)


def settle(marks: Mapping[str, Mark], decision: Decision) -> dict[str, Mark]:
    """Return the marks of a beat that does everything it decided."""
    settled = dict(marks) | dict(decision.begun)
    for missed in decision.missed:
        settled["urls/*"] = replace(settled["urls/*"], settled=missed.until)
    for due in decision.due:
        settled["urls/*"] = replace(settled["urls/*"], settled=due.run.due)
    return settled


@given(
    steps=st.lists(st.integers(min_value=0, max_value=80), max_size=30),
    every=st.integers(min_value=1, max_value=30),
    grace=st.integers(min_value=0, max_value=60),
)
def test_every_run_is_sent_superseded_or_missed_exactly_once(
    steps: list[int], every: int, grace: int
) -> None:
    fleet = fleet_with(replace(ENTRY, every_seconds=every, grace_seconds=grace))
    now = 1000
    marks = settle({}, decide(fleet, {}, now=now))
    sent: list[int] = []
    accounted = 0
    for step in steps:
        now += step
        decision = decide(fleet, marks, now=now)
        for due in decision.due:
            assert now - max(grace, LEAST_GRACE_SECONDS) <= due.run.due <= now
            sent.append(due.run.slot)
            accounted += 1 + due.superseded
        accounted += sum(missed.count for missed in decision.missed)
        marks = settle(marks, decision)
    assert sent == sorted(set(sent))
    assert accounted == now // every - 1000 // every
