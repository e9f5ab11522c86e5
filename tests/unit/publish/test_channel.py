import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amqp.exceptions import RecoverableConnectionError

from fleet.connection import Target
from fleet.errors import BrokerUnreachable
from fleet.login import Login
from fleet.model import Broker, Node
from fleet.publish.channel import ConfirmedChannel, ConnectionLost, RefusalKind
from fleet.publish.message import WireMessage

NODES = (Node(host="a.example", port=5672), Node(host="b.example", port=5672))
TARGET = Target(broker=Broker(nodes=NODES), login=Login(user="fleet", password=None), name="test")


def wire(name: str) -> WireMessage:
    return WireMessage(
        exchange="x", routing_key="q", body=b"{}", headers={}, properties={"correlation_id": name}
    )


class Wire:
    """One connection and its only channel: confirms what ``answers`` says, in order of the delivery tags."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.ids: list[str] = []
        self.events: dict[str, set[Callable[..., None]]] = {
            name: set() for name in ("basic_ack", "basic_nack", "basic_return")
        }
        self.answers: Iterator[str] = iter(())
        self.failure: BaseException | None = None
        self.is_open = True
        self._tag = 0

    def channel(self) -> "Wire":
        return self

    def confirm_select(self) -> None:
        pass

    def basic_publish(self, content: Any, **options: object) -> None:
        del options
        if self.failure is not None:
            raise self.failure
        self.ids.append(content.properties["correlation_id"])

    def drain_events(self, timeout: float) -> None:
        if timeout == 0:
            raise TimeoutError
        answer = next(self.answers, None)
        if answer is None:
            raise RecoverableConnectionError("gone")
        self._tag += 1
        for tell in self.events[answer]:
            tell(self._tag, False)  # noqa: FBT003 - as py-amqp calls it

    def collect(self) -> None:
        self.is_open = False

    def close(self) -> None:
        self.is_open = False


class Dialled:
    """Stands in for ``connect``: hands out the connections it was given and notes where each was tried."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.first_nodes: list[int] = []
        self.seconds = 0.0
        self.now = 0.0

    def connect(self, target: Target, *, first_node: int, on_blocked: object) -> Wire:
        del target, on_blocked
        self.first_nodes.append(first_node)
        self.now += self.seconds
        return self.wires[len(self.first_nodes) - 1]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Dialled:
    broker = Dialled()
    monkeypatch.setattr("fleet.publish.channel.connect", broker.connect)
    return broker


@pytest.fixture
def channel(broker: Dialled) -> ConfirmedChannel:
    return ConfirmedChannel(TARGET, clock=lambda: broker.now)


def acking(host: str = "a.example:5672") -> Wire:
    made = Wire(host)
    made.answers = iter(["basic_ack"] * 10)
    return made


@pytest.mark.parametrize("failure", [struct.error("too long"), TypeError("x"), KeyboardInterrupt()])
def test_a_message_that_cannot_be_written_does_not_spoil_the_next(
    channel: ConfirmedChannel, broker: Dialled, failure: BaseException
) -> None:
    broker.wires = [acking(), acking()]
    broker.wires[0].failure = failure
    with pytest.raises(type(failure)):
        channel.deliver([wire("bad")], timeout_seconds=5)
    broker.wires[0].failure = None
    assert channel.deliver([wire("good")], timeout_seconds=5) == (None,)
    assert not broker.wires[0].is_open
    assert broker.wires[1].ids == ["good"]


def test_a_lost_connection_tells_what_the_broker_had_answered(
    channel: ConfirmedChannel, broker: Dialled
) -> None:
    broker.wires = [Wire("a.example:5672")]
    broker.wires[0].answers = iter(["basic_ack", "basic_nack"])
    with pytest.raises(ConnectionLost) as caught:
        channel.deliver([wire(name) for name in "abc"], timeout_seconds=5)
    answered = caught.value.answered
    assert answered[0] is None
    assert answered[1] is not None
    assert answered[1].kind is RefusalKind.REJECTED
    assert set(answered) == {0, 1}


def test_time_that_connecting_took_leaves_nothing_uncertain(
    channel: ConfirmedChannel, broker: Dialled
) -> None:
    broker.wires, broker.seconds = [acking()], 6.0
    with pytest.raises(BrokerUnreachable, match="nothing was sent") as caught:
        channel.deliver([wire("late")], timeout_seconds=5)
    assert type(caught.value) is BrokerUnreachable
    assert broker.wires[0].ids == []
    assert channel.deliver([wire("again")], timeout_seconds=5) == (None,)


def test_the_node_that_answered_is_tried_first_next_time(channel: ConfirmedChannel, broker: Dialled) -> None:
    broker.wires = [acking("b.example:5672"), acking()]
    channel.open()
    channel.drop()
    channel.open()
    assert broker.first_nodes == [0, 1]
