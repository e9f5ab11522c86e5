from dataclasses import dataclass, field
from typing import Any

import pytest

from fleet.worker.adoption import Adoptions, adopt

QUEUE = "fleet.backup.alpha"


@dataclass
class FakeMessage:
    headers: dict[str, Any]
    body: bytes | str
    delivery_info: dict[str, Any]


@dataclass
class FakeRequest:
    _message: Any
    acknowledged: bool = False
    _on_ack: Any = None
    _on_reject: Any = None
    settled: list[str] = field(default_factory=list)


def message(*, queue: str = QUEUE, connection: int = 0, redelivered: bool = False, **stamps: Any) -> Any:
    headers = {"id": "1", "task": "fleet.backup", "retries": 0, "fleet_sent": 5.0} | stamps
    info = {"fleet_queue": queue, "fleet_connection": connection, "redelivered": redelivered}
    return FakeMessage(headers=headers, body=b"[[], {}, {}]", delivery_info=info)


def again(**stamps: Any) -> Any:
    return message(connection=1, redelivered=True, **stamps)


@pytest.fixture
def adoptions() -> Adoptions:
    return Adoptions([QUEUE])


def test_a_run_adopts_the_redelivery_of_its_own_message(adoptions: Adoptions) -> None:
    running = FakeRequest(message())
    assert adoptions.running(again(), [running]) is running


def test_an_adopted_message_is_settled_when_the_run_ends() -> None:
    running, redelivery = FakeRequest(message()), again()
    adopt(
        running,
        redelivery,
        ack=lambda: running.settled.append("ack"),
        reject=lambda: running.settled.append("reject"),
    )
    running._on_ack()
    assert running._message is redelivery
    assert running.settled == ["ack"]


@pytest.mark.parametrize(
    "stamps",
    [{"id": "2"}, {"task": "fleet.restore"}, {"retries": 1}, {"fleet_sent": 6.0}],
    ids=lambda stamps: next(iter(stamps)),
)
def test_another_message_is_not_adopted(adoptions: Adoptions, stamps: dict[str, Any]) -> None:
    assert adoptions.running(again(**stamps), [FakeRequest(message())]) is None


def test_another_body_is_not_adopted(adoptions: Adoptions) -> None:
    forged = again()
    forged.body = b'[[], {"name": "other"}, {}]'
    assert adoptions.running(forged, [FakeRequest(message())]) is None


def test_a_repeated_id_that_the_broker_did_not_redeliver_is_not_adopted(adoptions: Adoptions) -> None:
    assert adoptions.running(message(connection=1), [FakeRequest(message())]) is None


def test_a_second_message_on_the_same_connection_is_not_adopted(adoptions: Adoptions) -> None:
    assert adoptions.running(message(redelivered=True), [FakeRequest(message())]) is None


def test_a_run_whose_message_is_settled_adopts_nothing(adoptions: Adoptions) -> None:
    assert adoptions.running(again(), [FakeRequest(message(), acknowledged=True)]) is None


def test_short_queues_adopt_nothing() -> None:
    adoptions = Adoptions([])
    request = FakeRequest(message())
    adoptions.remember(request, settled="ack")
    assert adoptions.running(again(), [request]) is None
    assert adoptions.ended(again()) is None


@pytest.mark.parametrize("settled", ["ack", "reject"])
def test_a_run_that_ended_while_the_connection_was_lost_is_not_started_again(
    adoptions: Adoptions, settled: Any
) -> None:
    adoptions.remember(FakeRequest(message()), settled=settled)
    assert adoptions.ended(again()) == settled


def test_a_run_that_ended_says_nothing_of_other_messages(adoptions: Adoptions) -> None:
    adoptions.remember(FakeRequest(message()), settled="ack")
    assert adoptions.ended(again(retries=1)) is None
    assert adoptions.ended(message(connection=1)) is None


def test_only_so_many_ended_runs_are_remembered() -> None:
    adoptions = Adoptions([QUEUE], remembered=2)
    for number in range(3):
        adoptions.remember(FakeRequest(message(id=str(number))), settled="ack")
    assert [adoptions.ended(again(id=str(number))) for number in range(3)] == [None, "ack", "ack"]


def test_a_redelivery_is_known_while_its_run_goes_on_and_after_it(adoptions: Adoptions) -> None:
    running = FakeRequest(message())
    assert adoptions.knows(again(), [running])
    assert not adoptions.knows(again(), [])
    adoptions.remember(running, settled="ack")
    assert adoptions.knows(again(), [])


def test_a_message_that_is_sent_anew_runs_again_however_its_last_run_ended(adoptions: Adoptions) -> None:
    adoptions.remember(FakeRequest(message()), settled="reject")
    adoptions.forget(message(connection=1))
    assert adoptions.ended(again()) is None


def test_a_redelivery_makes_nothing_forgotten(adoptions: Adoptions) -> None:
    adoptions.remember(FakeRequest(message()), settled="reject")
    adoptions.forget(again())
    assert adoptions.ended(again()) == "reject"
