from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.letters.letter import Letter
from fleet.letters.replay import Hindrance, Rules, in_batches, replayed
from fleet.letters.spans import Span, spans_around
from tests.unit.letters.samples import BACKUP, EMAIL, RULES, death, letter, refused, rejected

NOW = 2_000_000_000.0


def test_a_letter_goes_back_to_the_queue_it_came_from() -> None:
    assert RULES.judge(rejected(), now=NOW) == EMAIL
    assert RULES.judge(refused(), now=NOW) == EMAIL


@pytest.mark.parametrize(
    ("found", "hindrance"),
    [
        (letter({"id": None}), Hindrance.NOT_A_TASK),
        (letter({}), Hindrance.NO_ORIGIN),
        (rejected(death("fleet.gone")), Hindrance.NO_ORIGIN),
        # A mail's sender who writes that it was a backup does not make it one.
        (refused("fleet.backup.alpha"), Hindrance.NO_ORIGIN),
        (rejected(death(keys=["fleet.other", "fleet.email"])), Hindrance.FOREIGN_KEY),
        (rejected(death(keys=[])), Hindrance.FOREIGN_KEY),
        (refused(fleet_refused_routing_key="\x00"), Hindrance.FOREIGN_KEY),
        (refused(fleet_replays=3), Hindrance.TOO_OFTEN),
        (refused(expires="2026-01-01T00:00:00"), Hindrance.EXPIRED),
    ],
)
def test_a_letter_stays_where_it_is_when(found: Letter, hindrance: Hindrance) -> None:
    assert RULES.judge(found, now=NOW) is hindrance


def test_more_replays_are_possible_for_who_asks_for_them() -> None:
    assert replace(RULES, max_replays=4).judge(refused(fleet_replays=3), now=NOW) == EMAIL


def test_a_replayed_message_is_the_same_work_with_all_its_attempts_and_a_stamp_of_its_own() -> None:
    found = refused(fleet_key="k", fleet_replays=1, CC=["fleet.backup.alpha"], mine=[1])
    wire = replayed(found, EMAIL, by="hands", now=50.0)
    assert (wire.exchange, wire.routing_key, wire.body) == ("fleet.tasks", "fleet.email", found.body)
    assert wire.headers == {
        "id": "t1",
        "task": "fleet.send_mail",
        "retries": 0,
        "fleet_first": 5.0,
        "fleet_key": "k",
        "fleet_sent": 50.0,
        "fleet_replays": 2,
        "fleet_replayed_by": "hands",
        "fleet_replayed_time": 50.0,
        "mine": [1],
    }


def test_properties_that_would_end_or_misname_the_copy_are_left_out() -> None:
    found = letter({}, expiration="5", user_id="eve", delivery_mode=1, content_type="application/json")
    assert replayed(found, EMAIL, by="hands", now=1.0).properties == {
        "priority": 0,
        "content_type": "application/json",
        "correlation_id": "t1",
        "delivery_mode": 2,
    }


@given(st.lists(st.sampled_from("abc")), st.integers(1, 5))
def test_batches_keep_the_order_and_hold_no_id_twice(ids: list[str], size: int) -> None:
    letters = [letter({"id": task_id}) for task_id in ids]
    batches = in_batches(letters, size=size)
    assert [index for batch in batches for index in batch] == list(range(len(ids)))
    for batch in batches:
        assert len(batch) <= size
        assert len({ids[index] for index in batch}) == len(batch)


@given(st.lists(st.floats(0, 10_000)))
def test_spans_hold_every_moment_and_do_not_touch(moments: list[float]) -> None:
    spans = spans_around(moments, before=10, after=20)
    for moment in moments:
        assert any(span.begin <= moment - 10 and span.end >= moment + 20 for span in spans)
    assert all(left.end < right.begin for left, right in pairwise(spans))


def test_near_moments_are_read_in_one_go() -> None:
    assert spans_around([100.0, 50.0, 500.0], before=10, after=40) == (
        Span(begin=40.0, end=140.0),
        Span(begin=490.0, end=540.0),
    )


def test_the_rules_of_a_fleet_know_its_queues_only() -> None:
    assert Rules(queues={BACKUP.name: BACKUP}).judge(rejected(), now=NOW) is Hindrance.NO_ORIGIN
