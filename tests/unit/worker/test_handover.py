import threading
from collections.abc import Sequence

import pytest

from fleet.errors import BrokerUnreachable, SecretMissing
from fleet.publish.channel import Refusal, RefusalKind
from fleet.publish.message import WireMessage
from fleet.worker.handover import Handover, Original, Refused, dead_letter, postponed

ORIGINAL = Original(
    exchange="fleet.tasks",
    routing_key="fleet.email",
    body=b"\xff any bytes",
    headers={"task": "x", "id": "1", "x-death": [], "CC": ["fleet.backup.alpha"], "fleet_queue": "forged"},
    properties={
        "content_type": "application/json",
        "correlation_id": "1",
        "expiration": "5",
        "user_id": "eve",
        "delivery_mode": 1,
        "application_headers": {},
    },
)
REFUSED = Refused(
    reason="callbacks", detail="d", host="alpha", worker="shared-a@alpha", queue="fleet.email", time=5.0
)


def test_a_dead_letter_says_why_where_and_whence() -> None:
    copy = dead_letter(ORIGINAL, REFUSED, dead_letter_queue="fleet.email.dlq")
    assert (copy.exchange, copy.routing_key, copy.body) == ("fleet.dead", "fleet.email.dlq", ORIGINAL.body)
    assert copy.headers == {
        "task": "x",
        "id": "1",
        "fleet_refused_reason": "callbacks",
        "fleet_refused_detail": "d",
        "fleet_refused_host": "alpha",
        "fleet_refused_worker": "shared-a@alpha",
        "fleet_refused_queue": "fleet.email",
        "fleet_refused_time": 5.0,
        "fleet_refused_exchange": "fleet.tasks",
        "fleet_refused_routing_key": "fleet.email",
    }


def test_a_copy_neither_expires_nor_pretends_to_be_somebody_elses() -> None:
    copy = dead_letter(ORIGINAL, REFUSED, dead_letter_queue="fleet.email.dlq")
    assert copy.properties == {
        "content_type": "application/json",
        "correlation_id": "1",
        "delivery_mode": 2,
    }


def test_a_postponed_message_comes_back_to_its_queue_and_to_no_other() -> None:
    copy = postponed(ORIGINAL, queue_name="fleet.email", delay_seconds=5)
    assert copy.exchange == "celery_delayed_27"
    assert copy.routing_key == "0." * 25 + "1.0.1.fleet.email"
    assert copy.headers == {"task": "x", "id": "1"}


class FakeDoor:
    def __init__(self, answer: Refusal | Exception | None) -> None:
        self.answer = answer
        self.delivered: list[WireMessage] = []

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        self.delivered.extend(messages)
        if isinstance(self.answer, Exception):
            raise self.answer
        return (self.answer,)

    def close(self) -> None: ...


def place(handover: Handover) -> bool:
    """Hand one copy over and return whether it was placed."""
    settled: list[bool] = []
    done = threading.Event()

    def settle(*, placed: bool) -> None:
        settled.append(placed)
        done.set()

    handover.place(dead_letter(ORIGINAL, REFUSED, dead_letter_queue="fleet.email.dlq"), settle)
    assert done.wait(5)
    return settled[0]


@pytest.mark.parametrize(
    ("answer", "placed", "attempts"),
    [
        (None, True, 1),
        (Refusal(kind=RefusalKind.UNROUTABLE, reason="312"), False, 1),
        (BrokerUnreachable("gone"), False, 3),
        (ValueError("cannot be encoded"), False, 1),
    ],
    ids=["confirmed", "unroutable", "unreachable", "fault"],
)
def test_the_original_is_settled_by_what_became_of_its_copy(
    answer: Refusal | Exception | None, *, placed: bool, attempts: int
) -> None:
    door = FakeDoor(answer)
    assert place(Handover(lambda: door, pause_seconds=0)) is placed
    assert len(door.delivered) == attempts


def test_a_secret_that_is_missing_for_a_moment_does_not_end_the_thread() -> None:
    doors: list[FakeDoor | Exception] = [SecretMissing("not there"), FakeDoor(None)]

    def connect() -> FakeDoor:
        door = doors.pop(0)
        if isinstance(door, Exception):
            raise door
        return door

    assert place(Handover(connect, pause_seconds=0))


def test_a_settling_that_fails_does_not_end_the_thread() -> None:
    handover = Handover(lambda: FakeDoor(None), pause_seconds=0)

    def fail(*, placed: bool) -> None:
        raise RuntimeError(placed)

    handover.place(dead_letter(ORIGINAL, REFUSED, dead_letter_queue="fleet.email.dlq"), fail)
    assert place(handover)
