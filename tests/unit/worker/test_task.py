from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.publish.message import traceparent_of
from fleet.worker.delay import whole_seconds
from fleet.worker.task import kept_headers, trace_of


@given(st.floats(min_value=-10, max_value=1e8, allow_nan=False))
def test_a_countdown_is_whole_seconds_never_less_than_asked_and_at_least_one(seconds: float) -> None:
    countdown = whole_seconds(seconds)
    assert isinstance(countdown, int)
    assert countdown >= max(1, seconds)
    assert countdown < max(1, seconds) + 1


def test_a_retried_message_keeps_its_first_stamp_and_key_but_is_stamped_anew() -> None:
    headers = {"fleet_first": 1.0, "fleet_sent": 2.0, "fleet_key": "k", "traceparent": "00-1"}
    assert kept_headers(headers, now=9.0) == {
        "fleet_first": 1.0,
        "fleet_sent": 9.0,
        "fleet_key": "k",
        "traceparent": "00-1",
    }


@pytest.mark.parametrize(
    "name", ["CC", "BCC", "x-death", "x-delivery-count", "fleet_queue", "task", "retries", "_x"]
)
def test_what_only_the_broker_or_the_worker_may_say_is_not_carried_over(name: str) -> None:
    assert name not in kept_headers({name: "anything"}, now=1.0)


def test_a_task_that_no_task_sends_has_a_trace_of_its_own() -> None:
    assert trace_of(None, "id-1") == traceparent_of("id-1")


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "no trace"}, {"traceparent": 7}])
def test_a_task_of_a_task_whose_own_trace_is_none_is_in_the_one_of_that_tasks_id(headers: object) -> None:
    made = trace_of(SimpleNamespace(id="id-1", headers=headers), "id-2")
    assert made[:35] == traceparent_of("id-1")[:35]
    assert made != traceparent_of("id-1")
