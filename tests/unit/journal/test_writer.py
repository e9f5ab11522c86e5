import struct
import threading
from collections.abc import Iterator, Sequence

import pytest

from fleet.errors import BrokerUnreachable
from fleet.journal import JournalWriter, Outcome
from fleet.journal.record import decode_all
from fleet.journal.writer import PACK
from fleet.model import Broker, Fleet, Node
from fleet.publish.channel import Refusal
from fleet.publish.message import WireMessage

FLEET = Fleet(
    name="test",
    timezone="UTC",
    state_dir="/var/lib/fleet",
    broker=Broker(nodes=(Node(host="127.0.0.1", port=1),)),
    hosts=(),
    queues=(),
    workers=(),
)
GOOD = Outcome(
    task_id="good",
    task="fleet.backup",
    queue="fleet.backup.alpha",
    host="alpha",
    worker="backup-a@alpha",
    outcome="succeeded",
    started=1.0,
    finished=2.0,
    runtime_seconds=1.0,
    wait_seconds=0.1,
)


class Channel:
    """Takes what py-amqp would take; the connection fails as often as ``failures`` says."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.sizes: list[int] = []
        self.messages = 0
        self.delivered = threading.Event()
        self.failures: Iterator[Exception] = iter(())

    def open(self) -> None:
        for failure in self.failures:
            raise failure

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        del timeout_seconds
        if any(len(message.message_id.encode()) > 255 for message in messages):
            raise struct.error("ubyte format requires 0 <= number <= 255")
        records = [record for message in messages for record in decode_all(message.body)]
        self.ids += [record.task_id for record in records]
        self.sizes.append(len(records))
        self.messages += len(messages)
        self.delivered.set()
        return (None,) * len(messages)

    def drop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def writer(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> JournalWriter:
    monkeypatch.setattr("fleet.journal.writer.ConfirmedChannel", lambda target: channel)
    monkeypatch.setattr("fleet.journal.writer.FIRST_PAUSE_SECONDS", 0.01)
    return JournalWriter(FLEET, "alpha", None)


@pytest.mark.parametrize(
    "bad",
    [
        GOOD._replace(task_id="\ud800"),
        GOOD._replace(task="\ud800"),
        GOOD._replace(finished=float("nan")),
    ],
)
def test_a_record_that_cannot_be_encoded_is_dropped_and_holds_no_other(
    writer: JournalWriter, channel: Channel, bad: Outcome
) -> None:
    for outcome in (GOOD, bad, GOOD._replace(task_id="later")):
        writer.put_nowait(outcome)
    with writer:
        pass
    assert channel.ids == ["good", "later"]
    assert (writer.written, writer.dropped) == (2, 1)


def test_a_record_that_spoils_its_message_is_dropped_alone(writer: JournalWriter, channel: Channel) -> None:
    for outcome in (GOOD._replace(task_id="x" * 300), GOOD, GOOD._replace(task_id="later")):
        writer.put_nowait(outcome)
    with writer:
        pass
    assert channel.ids == ["good", "later"]
    assert (writer.written, writer.dropped) == (2, 1)


@pytest.mark.parametrize("failure", [BrokerUnreachable("down"), struct.error("garbage")])
def test_what_breaks_while_connecting_costs_no_record(
    writer: JournalWriter, channel: Channel, failure: Exception
) -> None:
    channel.failures = iter((failure, failure))
    writer.put_nowait(GOOD)
    with writer:
        pass
    assert (channel.ids, writer.dropped) == (["good"], 0)


def test_a_lone_record_goes_out_at_once_and_those_of_a_busy_worker_together(
    writer: JournalWriter, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.journal.writer.GATHER_SECONDS", 60.0)
    writer.start()
    writer.put_nowait(GOOD)
    assert channel.delivered.wait(5)
    for _ in range(3):
        writer.put_nowait(GOOD)
    # The end waits for nothing.
    writer.close()
    assert channel.sizes == [1, 3]
    assert writer.written == 4


def test_many_records_share_a_message_and_come_out_in_their_order(
    writer: JournalWriter, channel: Channel
) -> None:
    names = [f"task {number}" for number in range(3 * PACK)]
    for name in names:
        writer.put_nowait(GOOD._replace(task_id=name, message="two\nlines"))
    with writer:
        pass
    assert channel.ids == names
    assert channel.messages <= 4
