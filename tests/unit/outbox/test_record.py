from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import UsageError
from fleet.model import Queue
from fleet.outbox.record import Backlog, QueueBacklog, Volume, due_message, from_text, to_text
from fleet.publish.message import LONGEST_DELAY_SECONDS, TaskMessage, for_rabbitmq
from fleet.routes import broker_queue

SHARED = broker_queue(Queue(name="email", tasks=("*",)), None)
OF_ALPHA = broker_queue(Queue(name="backup", tasks=("*",), per_host=True), "alpha")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.builds(
    TaskMessage,
    task=st.text(min_size=1),
    queue=st.sampled_from([SHARED, OF_ALPHA]),
    task_id=st.uuids().map(str),
    args=st.lists(JSON, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(), JSON, max_size=3),
    delay_seconds=st.integers(0, LONGEST_DELAY_SECONDS) | st.floats(0, 1e6),
    key=st.none() | st.text(),
    first_sent=st.floats(0, 1e10),
)


def delayed(seconds: float, *, first_sent: float = 1000.0) -> TaskMessage:
    return TaskMessage(task="a", queue=SHARED, task_id="1", delay_seconds=seconds, first_sent=first_sent)


@given(message=MESSAGES)
def test_a_kept_message_comes_back_the_same_in_every_field(message: TaskMessage) -> None:
    found = from_text(to_text(message))
    assert [getattr(found, field.name) for field in fields(found)] == [
        getattr(message, field.name) for field in fields(message)
    ]


@given(message=MESSAGES, now=st.floats(0, 1e10))
def test_a_kept_message_is_on_the_wire_what_it_would_have_been(message: TaskMessage, now: float) -> None:
    found = from_text(to_text(message))
    assert for_rabbitmq(found, now=now, origin="x") == for_rabbitmq(message, now=now, origin="x")


@given(message=MESSAGES)
def test_a_kept_message_is_plain_ascii_so_that_its_length_is_its_size(message: TaskMessage) -> None:
    assert to_text(message).isascii()


@pytest.mark.parametrize(
    "message",
    [
        replace(delayed(0), kwargs={"x": object()}),
        replace(delayed(0), args=(float("nan"),)),
        delayed(-1),
        delayed(LONGEST_DELAY_SECONDS + 1),
    ],
    ids=["no JSON", "not a number", "negative delay", "too long a delay"],
)
def test_what_could_never_be_published_is_not_kept(message: TaskMessage) -> None:
    with pytest.raises(UsageError):
        to_text(message)


def test_arguments_show_in_no_representation() -> None:
    assert "secret" not in repr(from_text(to_text(replace(delayed(0), kwargs={"x": "secret"}))))


@pytest.mark.parametrize(
    ("now", "left"),
    [(1000.0, 60.0), (1020.5, 39.5), (1060.0, 0.0), (5000.0, 0.0), (0.0, 60.0)],
    ids=["at once", "in between", "when it is due", "long after", "after the clock was set back"],
)
def test_a_delay_counts_from_the_first_sending(now: float, left: float) -> None:
    assert due_message(delayed(60), now=now).delay_seconds == left


def test_a_task_without_a_delay_gets_none() -> None:
    assert due_message(delayed(0), now=0).delay_seconds == 0


def test_the_first_sending_stays_known() -> None:
    wire = for_rabbitmq(due_message(delayed(60), now=5000), now=5000, origin="x")
    assert (wire.headers["fleet_first"], wire.headers["fleet_sent"]) == (1000.0, 5000)


@pytest.mark.parametrize(
    ("messages", "size", "is_within"), [(10, 100, True), (11, 100, False), (10, 101, False)]
)
def test_both_limits_hold(messages: int, size: int, *, is_within: bool) -> None:
    limits = Volume(messages=10, bytes=100)
    assert Volume(messages=messages, bytes=size).fits(limits) is is_within


def test_a_backlog_is_the_sum_of_its_queues() -> None:
    queues = [
        QueueBacklog(queue=name, messages=2, bytes=30, oldest=0, refusal=None) for name in ("a", "b", "c")
    ]
    assert Backlog(queues=tuple(queues)).volume == Volume(messages=6, bytes=90)
