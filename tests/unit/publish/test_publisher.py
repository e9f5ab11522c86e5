from collections.abc import Sequence

import pytest

from fleet.errors import BrokerRefused, PublishUncertain
from fleet.model import Broker, Fleet, Node, Queue
from fleet.publish import Publisher, TaskMessage
from fleet.publish.channel import ConnectionLost, Refusal, RefusalKind
from fleet.publish.message import WireMessage
from fleet.routes import broker_queue

FLEET = Fleet(
    name="test",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="127.0.0.1", port=1),)),
    hosts=(),
    queues=(),
    workers=(),
)
QUEUE = broker_queue(Queue(name="email", tasks=("fleet.send_mail",)), None)
FULL = Refusal(kind=RefusalKind.REJECTED, reason="full")


class Door:
    """Loses the connection at the first batch and takes what comes after."""

    def __init__(self, lost: ConnectionLost) -> None:
        self.batches: list[list[str]] = []
        self.lost = lost
        self.second: Exception | None = None

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        del timeout_seconds
        self.batches.append([message.message_id for message in messages])
        if len(self.batches) == 1:
            raise self.lost
        if self.second is not None:
            raise self.second
        return (None,) * len(messages)


def publisher(door: Door, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr("fleet.publish.publisher.ConfirmedChannel", lambda target: door)
    return Publisher(FLEET, None)


def mails(names: str) -> list[TaskMessage]:
    return [TaskMessage(task="fleet.send_mail", queue=QUEUE, task_id=name) for name in names]


def test_after_a_lost_connection_only_what_has_no_answer_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(ConnectionLost("gone", answered={0: None, 2: FULL}))
    outcomes = publisher(door, monkeypatch).deliver(mails("abcd"))
    assert door.batches == [["a", "b", "c", "d"], ["b", "d"]]
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), BrokerRefused, type(None)]


def test_without_any_answer_the_whole_batch_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(ConnectionLost("gone"))
    assert publisher(door, monkeypatch).deliver(mails("ab")) == (None, None)
    assert door.batches == [["a", "b"], ["a", "b"]]


def test_what_was_lost_stays_uncertain_when_the_second_try_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(ConnectionLost("gone", answered={0: None}))
    door.second = BrokerRefused("no")
    with pytest.raises(PublishUncertain, match="gone; then: no"):
        publisher(door, monkeypatch).deliver(mails("ab"))
