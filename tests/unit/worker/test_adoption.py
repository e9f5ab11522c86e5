from dataclasses import dataclass, field
from typing import Any

import pytest

from fleet.worker.adoption import Adoptions, adopt

QUEUE, SHORT = "fleet.backup.alpha", "fleet.mail"


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
    return Adoptions([QUEUE, SHORT], adopting=[QUEUE], remembered=10)


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


def test_short_queues_adopt_nothing_that_runs(adoptions: Adoptions) -> None:
    assert adoptions.running(again(queue=SHORT), [FakeRequest(message(queue=SHORT))]) is None


def test_the_same_message_in_another_queue_is_another_one(adoptions: Adoptions) -> None:
    adoptions.remember(message(queue=SHORT), settled="ack")
    assert adoptions.ended(again()) is None
    assert adoptions.running(again(), [FakeRequest(message(queue=SHORT))]) is None


def test_queues_that_are_not_named_remember_nothing(adoptions: Adoptions) -> None:
    adoptions.remember(message(queue="fleet.other"), settled="ack")
    adoptions.forget(message(queue="fleet.other"))
    assert adoptions.ended(again(queue="fleet.other")) is None


@pytest.mark.parametrize("queue", [QUEUE, SHORT])
@pytest.mark.parametrize("settled", ["ack", "reject"])
def test_a_run_that_ended_while_the_connection_was_lost_is_not_started_again(
    adoptions: Adoptions, settled: Any, queue: str
) -> None:
    adoptions.remember(message(queue=queue), settled=settled)
    assert adoptions.ended(again(queue=queue)) == settled


def test_what_is_settled_once_more_on_a_later_connection_may_be_lost_with_that_one_too(
    adoptions: Adoptions,
) -> None:
    adoptions.remember(message(), settled="ack")
    adoptions.remember(again(), settled="ack")
    assert adoptions.ended(again()) is None, "settled on this connection: another message of the same stamps"
    assert adoptions.ended(message(connection=2, redelivered=True)) == "ack"


def test_a_run_that_ended_says_nothing_of_other_messages(adoptions: Adoptions) -> None:
    adoptions.remember(message(), settled="ack")
    assert adoptions.ended(again(retries=1)) is None
    assert adoptions.ended(again(task="fleet.restore")) is None
    assert adoptions.ended(message(connection=1)) is None
    other = again()
    other.body = b'[[], {"name": "other"}, {}]'
    assert adoptions.ended(other) is None


def test_a_message_that_has_died_and_come_back_since_is_to_run_again(adoptions: Adoptions) -> None:
    adoptions.remember(message(), settled="reject")
    assert adoptions.ended(again(**{"x-death": [{"reason": "rejected", "count": 1}]})) is None


def test_a_message_without_a_stamp_of_its_publish_is_not_told_from_its_like_and_runs_again(
    adoptions: Adoptions,
) -> None:
    adoptions.remember(message(fleet_sent=None), settled="ack")
    assert adoptions.ended(again(fleet_sent=None)) is None


@pytest.mark.parametrize("odd", [[1], {"a": 1}, None, b"5", "", float("nan")], ids=repr)
@pytest.mark.parametrize("name", ["id", "retries", "fleet_sent", "task", "x-death"])
def test_headers_of_any_kind_disturb_nothing(adoptions: Adoptions, name: str, odd: Any) -> None:
    strange = message(**{name: odd})
    adoptions.forget(strange)
    adoptions.remember(strange, settled="ack")
    adoptions.running(again(**{name: odd}), [FakeRequest(strange)])
    assert adoptions.ended(again(**{name: odd})) in {None, "ack"}


def test_only_so_many_ended_runs_of_a_queue_are_remembered() -> None:
    adoptions = Adoptions([QUEUE, SHORT], adopting=[QUEUE], remembered=2)
    adoptions.remember(message(queue=SHORT), settled="ack")
    for number in range(3):
        adoptions.remember(message(id=str(number)), settled="ack")
    assert [adoptions.ended(again(id=str(number))) for number in range(3)] == [None, "ack", "ack"]
    assert adoptions.ended(again(queue=SHORT)) == "ack", "a busy queue pushes nothing out of a quiet one"


def test_a_redelivery_is_known_while_its_run_goes_on_and_after_it(adoptions: Adoptions) -> None:
    running = FakeRequest(message())
    assert adoptions.knows(again(), [running])
    assert not adoptions.knows(again(), [])
    adoptions.remember(running._message, settled="ack")
    assert adoptions.knows(again(), [])


def test_a_message_that_is_sent_anew_runs_again_however_its_last_run_ended(adoptions: Adoptions) -> None:
    adoptions.remember(message(), settled="reject")
    adoptions.forget(message(connection=1))
    assert adoptions.ended(again()) is None


def test_a_redelivery_makes_nothing_forgotten(adoptions: Adoptions) -> None:
    adoptions.remember(message(), settled="reject")
    adoptions.forget(again())
    assert adoptions.ended(again()) == "reject"
