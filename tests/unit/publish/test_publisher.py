from collections.abc import Iterable, Iterator

import pytest

from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain
from fleet.model import Broker, Fleet, Node, Queue
from fleet.publish import Publisher, TaskMessage
from fleet.publish.fate import Fate, FateKind
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
TAKEN = Fate(kind=FateKind.ACCEPTED)


class Door:
    """Gives the fates that it was made with, then raises the error."""

    def __init__(self, fates: Iterable[Fate], error: Exception | None = None) -> None:
        self._fates = list(fates)
        self._error = error
        self.is_closed = False

    def fates(self, messages: Iterable[WireMessage], *, timeout_seconds: float) -> Iterator[Fate]:
        del timeout_seconds
        source = iter(messages)
        for fate in self._fates:
            next(source)
            yield fate
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.is_closed = True


def publisher(door: Door, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setattr("fleet.publish.publisher.ConfirmedChannel", lambda target: door)
    return Publisher(FLEET, None)


def mails(names: str) -> list[TaskMessage]:
    return [TaskMessage(task="fleet.send_mail", queue=QUEUE, task_id=name) for name in names]


def test_each_message_of_a_batch_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door([TAKEN, Fate(kind=FateKind.REFUSED, reason="negative confirm"), TAKEN])
    first, second, third = publisher(door, monkeypatch).deliver(mails("abc"))
    assert (first, third) == (None, None)
    assert isinstance(second, BrokerRefused)
    assert "it is full" in second.message


def test_a_batch_of_which_nothing_is_there_is_no_uncertainty(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door([Fate(kind=FateKind.UNSENT, writes=0)] * 2, BrokerUnreachable("away"))
    with pytest.raises(BrokerUnreachable) as caught:
        publisher(door, monkeypatch).deliver(mails("ab"))
    assert type(caught.value) is BrokerUnreachable


def test_of_a_batch_that_a_lost_broker_cut_short_each_message_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = PublishUncertain("away")
    door = Door([TAKEN, Fate(kind=FateKind.UNKNOWN), Fate(kind=FateKind.UNSENT, writes=0)], lost)
    taken, unknown, unsent, never_taken = publisher(door, monkeypatch).deliver(mails("abcd"))
    assert taken is None
    assert unknown is lost
    assert (type(unsent), type(never_taken)) == (BrokerUnreachable, BrokerUnreachable)


def test_of_a_batch_over_which_the_channel_was_closed_each_message_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = BrokerRefused("PRECONDITION_FAILED - message size", hint="send less")
    full = Fate(kind=FateKind.REFUSED, reason="negative confirm")
    too_large = Fate(kind=FateKind.REFUSED, reason="message size", closed_channel=True)
    door = Door([TAKEN, full, too_large, Fate(kind=FateKind.UNKNOWN)], closed)
    first, second, third, fourth, fifth = publisher(door, monkeypatch).deliver(mails("abcde"))
    assert first is None
    assert isinstance(second, BrokerRefused)
    assert "it is full" in second.message
    assert third is closed
    assert isinstance(fourth, PublishUncertain)
    assert isinstance(fifth, BrokerRefused)
    assert "it was not sent" in fifth.message


def test_what_one_message_ended_by_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = PublishUncertain("away", hint="look")
    door = Door([Fate(kind=FateKind.UNKNOWN)], lost)
    with pytest.raises(PublishUncertain) as caught:
        publisher(door, monkeypatch).send(mails("a")[0])
    assert caught.value is lost


def test_a_stream_pairs_each_message_with_its_fate_and_closes_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unroutable = Fate(kind=FateKind.UNROUTABLE, reason="312 NO_ROUTE")
    door = Door([TAKEN, unroutable])
    sent = list(publisher(door, monkeypatch).stream(mails("ab")))
    assert [(message.task_id, fate) for message, fate in sent] == [("a", TAKEN), ("b", unroutable)]
    assert door.is_closed


def test_a_stream_that_is_left_early_closes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door([TAKEN, TAKEN])
    sent = publisher(door, monkeypatch).stream(mails("ab"))
    next(sent)
    sent.close()
    assert door.is_closed
