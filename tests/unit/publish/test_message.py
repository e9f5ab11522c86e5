import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import UsageError
from fleet.model import Queue
from fleet.publish.message import (
    LONGEST_DELAY_SECONDS,
    TaskMessage,
    WireMessage,
    child_traceparent,
    delayed_routing_key,
    for_rabbitmq,
    for_redis,
    is_traceparent,
    task_id_for_key,
    traceparent_of,
    whole_delay_seconds,
)
from fleet.routes import broker_queue

QUEUE = broker_queue(Queue(name="email", tasks=("fleet.send_mail",)), None)
NOW = 1_700_000_000.25


def mail(**fields: Any) -> TaskMessage:
    return replace(TaskMessage(task="fleet.send_mail", queue=QUEUE, task_id="id-1"), **fields)


def wire(**fields: Any) -> WireMessage:
    return for_rabbitmq(mail(**fields), now=NOW, origin="test@here")


def all_headers(made: WireMessage) -> dict[str, object]:
    return {**made.common, **made.headers}


def test_a_message_goes_to_its_queue_through_the_task_exchange() -> None:
    assert (wire().exchange, wire().routing_key) == ("fleet.tasks", "fleet.email")


def test_the_body_holds_arguments_and_no_callbacks() -> None:
    args, kwargs, embedded = json.loads(wire(args=(1, "zwei"), kwargs={"to": "ü@example.org"}).body)
    assert (args, kwargs) == ([1, "zwei"], {"to": "ü@example.org"})
    assert set(embedded.values()) == {None}


def test_arguments_stand_in_no_header_and_no_repr() -> None:
    message = mail(kwargs={"to": "secret@example.org"})
    made = for_rabbitmq(message, now=NOW, origin="test@here")
    assert "secret@example.org" not in f"{all_headers(made)}{made.properties}{made!r}{message!r}"


def test_the_message_is_stamped_with_its_moment_and_its_key() -> None:
    made = wire(key="order-7")
    assert made.properties["timestamp"] == 1_700_000_000
    assert (made.headers["fleet_sent"], made.headers["fleet_first"]) == (NOW, NOW)
    assert made.headers["fleet_key"] == "order-7"


def test_the_first_moment_is_kept_when_the_work_is_sent_again() -> None:
    made = wire(first_sent=1_600_000_000.5)
    assert (made.headers["fleet_sent"], made.headers["fleet_first"]) == (NOW, 1_600_000_000.5)


def test_a_message_survives_a_restart_of_the_broker() -> None:
    assert wire().properties["delivery_mode"] == 2


def test_a_delayed_message_waits_in_the_broker_and_has_no_eta() -> None:
    made = wire(delay_seconds=0.2)
    assert made.exchange == "celery_delayed_27"
    assert made.routing_key.endswith("0.0.1.fleet.email")
    assert all_headers(made)["eta"] is None
    assert made.required_queue == "fleet.email"


def test_redis_has_no_delay_of_its_own_so_the_worker_gets_an_eta() -> None:
    made = for_redis(mail(delay_seconds=60), now=NOW, origin="test@here")
    assert (made.exchange, made.routing_key) == ("", "fleet.email")
    assert all_headers(made)["eta"] == "2023-11-14T22:14:20.250000+00:00"


def test_what_all_messages_of_a_task_share_is_one_mapping_and_holds_nothing_of_their_own() -> None:
    first, second = wire(key="a"), wire(task_id="id-2")
    assert first.common is second.common
    assert not first.common.keys() & first.headers.keys()


def test_a_task_belongs_to_the_trace_of_its_sender() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert wire(traceparent=trace).headers["traceparent"] == trace


@given(task_id=st.one_of(st.uuids().map(str), st.text(max_size=40)))
def test_a_task_without_a_trace_has_one_of_its_own_id(task_id: str) -> None:
    made = traceparent_of(task_id)
    assert is_traceparent(made)
    assert made == traceparent_of(task_id)


@given(task_id=st.one_of(st.uuids().map(str), st.text(max_size=40)))
def test_a_task_of_a_task_is_in_its_trace_with_a_span_of_its_own(task_id: str) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made = child_traceparent(parent, task_id)
    assert is_traceparent(made)
    assert made[:35] == parent[:35]
    assert made[-3:] == "-01"
    assert made.split("-")[2] == traceparent_of(task_id).split("-")[2]


def test_a_trace_can_be_found_by_the_task_id() -> None:
    assert traceparent_of("4bf92f35-77b3-4da6-a3ce-929d0e0e4736").startswith(
        "00-4bf92f3577b34da6a3ce929d0e0e4736-"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-1",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"ff-{'1' * 32}-{'1' * 16}-01",
        f"00-{'A' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'1' * 16}-01\n",
    ],
)
def test_what_is_no_trace_context_is_known(text: str) -> None:
    assert not is_traceparent(text)


@given(seconds=st.floats(min_value=0, max_value=LONGEST_DELAY_SECONDS))
def test_a_delay_is_rounded_up_to_whole_seconds(seconds: float) -> None:
    whole = whole_delay_seconds(seconds)
    assert 0 <= whole - seconds <= 1


@given(seconds=st.integers(min_value=1, max_value=LONGEST_DELAY_SECONDS))
def test_the_delay_levels_of_a_key_add_up_to_the_delay(seconds: int) -> None:
    *digits, name, queue = delayed_routing_key(seconds, "fleet.email").split(".")
    assert (name, queue, len(digits)) == ("fleet", "email", 28)
    assert (
        sum(2**level for level, digit in zip(range(27, -1, -1), digits, strict=True) if digit == "1")
        == seconds
    )


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), LONGEST_DELAY_SECONDS + 1])
def test_an_impossible_delay_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="not possible"):
        wire(delay_seconds=seconds)


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes"])
def test_arguments_that_are_no_json_are_refused_before_anything_is_sent(value: object) -> None:
    with pytest.raises(UsageError, match=r"fleet\.send_mail.*no JSON"):
        wire(kwargs={"value": value})


def test_the_same_key_means_the_same_task() -> None:
    ids = [task_id_for_key("shop", "fleet.send_mail", "order-7") for _ in range(2)]
    assert ids[0] == ids[1]


def test_a_key_of_another_fleet_task_or_work_is_another_task() -> None:
    cases = [
        ("shop", "fleet.send_mail", "order-7"),
        ("stage", "fleet.send_mail", "order-7"),
        ("shop", "shop.charge", "order-7"),
        ("shop", "fleet.send_mail", "order-8"),
    ]
    assert len({task_id_for_key(*case) for case in cases}) == len(cases)
