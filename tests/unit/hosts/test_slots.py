"""In which slot a worker runs next, whatever was seen of its two slots."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.hosts.slots import Seen, Slots, choose
from provisioning.errors import HostBusy

RUNS = Seen(enabled=True, active=True, is_current=True)
OLD = Seen(enabled=True, active=True)
ENDS = Seen(ending=True)


def seen_slots() -> st.SearchStrategy[Seen]:
    state = st.sampled_from(["active", "ending", "dead"])
    return st.builds(
        lambda enabled, state, is_current, since: Seen(
            enabled=enabled,
            active=state == "active",
            ending=state == "ending",
            is_current=is_current,
            since=since,
        ),
        st.booleans(),
        state,
        st.booleans(),
        st.floats(0, 1e6),
    )


def test_the_first_instance_takes_slot_a() -> None:
    assert choose("alpha", "mail", {}) == Slots(runs="a")


def test_what_runs_as_it_would_be_started_now_is_left_alone() -> None:
    assert choose("alpha", "mail", {"b": RUNS}) == Slots(runs="b")


def test_a_worker_that_must_start_anew_takes_the_other_slot_and_the_old_one_ends() -> None:
    assert choose("alpha", "mail", {"a": OLD}) == Slots(runs="b", ends=("a",))
    assert choose("alpha", "mail", {"b": OLD}) == Slots(runs="a", ends=("b",))


def test_one_that_was_stopped_starts_where_it_was() -> None:
    assert choose("alpha", "mail", {"b": Seen(enabled=True)}) == Slots(runs="b")


def test_a_change_that_was_cut_off_between_start_and_end_is_finished() -> None:
    assert choose("alpha", "mail", {"a": OLD, "b": RUNS}) == Slots(runs="b", ends=("a",))


def test_while_the_last_change_is_not_over_a_further_one_is_refused_by_the_name_of_what_still_ends() -> None:
    with pytest.raises(
        HostBusy, match=r"host `alpha`: worker `mail`.*`fleet-worker@mail-a` has not ended yet"
    ):
        choose("alpha", "mail", {"a": ENDS, "b": OLD})
    assert choose("alpha", "mail", {"a": ENDS, "b": RUNS}) == Slots(runs="b", ending=("a",))


def test_where_both_run_and_neither_may_the_older_one_is_named() -> None:
    seen = {"a": replace(OLD, since=500.0), "b": replace(OLD, since=90.0)}
    with pytest.raises(HostBusy, match=r"`fleet-worker@mail-a` and `fleet-worker@mail-b` both run") as raised:
        choose("alpha", "mail", seen)
    assert "stop --no-block fleet-worker@mail-b`" in str(raised.value.hint)


def test_what_shall_start_anew_does_though_it_runs_as_it_would_be_started_now() -> None:
    assert choose("alpha", "mail", {"b": RUNS}, anew=True) == Slots(runs="a", ends=("b",))
    assert choose("alpha", "mail", {}, anew=True) == Slots(runs="a")


def test_a_restart_that_was_cut_off_keeps_what_was_started_last() -> None:
    seen = {"a": replace(RUNS, since=500.0), "b": replace(RUNS, since=90.0)}
    assert choose("alpha", "mail", seen, anew=True) == Slots(runs="a", ends=("b",))
    assert choose("alpha", "mail", {**seen, "a": ENDS}, anew=False) == Slots(runs="b", ending=("a",))
    with pytest.raises(HostBusy):
        choose("alpha", "mail", {**seen, "a": ENDS}, anew=True)


@given(st.dictionaries(st.sampled_from("ab"), seen_slots()))
def test_after_a_restart_nothing_runs_on_that_ran_alone_before(seen: dict[str, Seen]) -> None:
    alone = [slot for slot, each in seen.items() if each.active]
    try:
        chosen = choose("alpha", "mail", seen, anew=True)
    except HostBusy:
        assert any(each.ending for each in seen.values())
        return
    if len(alone) == 1:
        assert chosen.runs != alone[0]
        assert chosen.ends == tuple(alone)
    elif alone:
        assert seen[chosen.runs].since == max(each.since for each in seen.values())


@given(st.dictionaries(st.sampled_from("ab"), seen_slots()))
def test_nothing_is_started_where_something_else_runs_and_nothing_that_runs_is_forgotten(
    seen: dict[str, Seen],
) -> None:
    try:
        chosen = choose("alpha", "mail", seen)
    except HostBusy:
        assert set(seen) == {"a", "b"}
        assert all(each.is_busy for each in seen.values())
        return
    there = seen.get(chosen.runs, Seen())
    assert not there.is_busy or (there.active and there.is_current)
    told = {chosen.runs, *chosen.ends, *chosen.ending}
    assert {slot for slot, each in seen.items() if each.is_busy} <= told
    assert chosen.runs not in (*chosen.ends, *chosen.ending)
