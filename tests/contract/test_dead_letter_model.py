"""The broker in memory of the property test does what the real one does, step by step."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import amqp
import pytest

from fleet.connection import Target
from fleet.errors import BrokerRefused
from fleet.fleetfile import read
from fleet.letters.look import Look
from fleet.login import Login
from fleet.publish.channel import ConfirmedChannel
from fleet.publish.message import WireMessage
from fleet.secrets import Secret
from tests.broker import BrokerVhost
from tests.unit.letters.broker_model import BrokerModel, LookModel

DEAD = "fleet.email.dlq"
IDS = [f"t{number}" for number in range(6)]


class Real:
    """A real dead-letter queue, and a task queue that has room for two."""

    def __init__(self, vhost: BrokerVhost, fleet: Path) -> None:
        login = Login(user=vhost.user, password=Secret(vhost.password))
        self._target = Target(broker=read(str(fleet)).broker, login=login, name="contract")
        self.connection = amqp.Connection(
            host=f"127.0.0.1:{vhost.node.port}",
            userid=vhost.user,
            password=vhost.password,
            virtual_host=vhost.name,
            login_method="PLAIN",
        )
        self.connection.connect()
        self._channel = self.connection.channel()
        quorum: dict[str, Any] = {"x-queue-type": "quorum"}
        full = quorum | {"x-max-length": 2, "x-overflow": "reject-publish"}
        for name, arguments in ((DEAD, quorum), ("fleet.email", full), ("journal", quorum)):
            self._channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        self._channel.exchange_declare("fleet.tasks", "topic", durable=True, auto_delete=False)
        self._channel.exchange_declare("fleet.journal", "topic", durable=True, auto_delete=False)
        self._channel.queue_bind("fleet.email", "fleet.tasks", "fleet.email")
        self._channel.queue_bind("journal", "fleet.journal", "#")
        for task_id in IDS:
            headers = {"id": task_id, "task": "t"}
            self._channel.basic_publish(
                amqp.Message("x", delivery_mode=2, application_headers=headers), routing_key=DEAD
            )
        self._await(DEAD, len(IDS))

    def look(self) -> Look:
        return Look(self._target, DEAD)

    def deliver(self, messages: list[WireMessage]) -> list[bool]:
        with closing(ConfirmedChannel(self._target)) as door:
            return [refusal is None for refusal in door.deliver(messages, timeout_seconds=10)]

    def counts(self, dead: int) -> tuple[int, int]:
        """Return how many letters there are, once there are as many as should be, and messages sent."""
        self._await(DEAD, dead)
        return self._ready(DEAD), self._ready("fleet.email")

    def _await(self, queue: str, count: int) -> None:
        deadline = time.monotonic() + 10
        while self._ready(queue) != count and time.monotonic() < deadline:
            time.sleep(0.02)

    def _ready(self, queue: str) -> int:
        return int(self._channel.queue_declare(queue, passive=True).message_count)


class Model:
    """The same in memory."""

    def __init__(self) -> None:
        from tests.unit.letters.samples import letter

        self.broker = BrokerModel(dead_letter_queue=DEAD, room=2)
        self.broker.ready = [letter({"id": task_id}) for task_id in IDS]

    def look(self) -> LookModel:
        return self.broker.look()

    def deliver(self, messages: list[WireMessage]) -> list[bool]:
        return [refusal is None for refusal in self.broker.deliver(messages, timeout_seconds=10)]

    def counts(self, dead: int) -> tuple[int, int]:
        del dead
        return len(self.broker.ready), len(self.broker.sent)


Broker = Real | Model


@pytest.fixture(params=["model", "real"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "model":
        yield Model()
        return
    vhost: BrokerVhost = request.getfixturevalue("vhost")
    real = Real(vhost, vhost.write_fleet_toml())
    try:
        yield real
    finally:
        real.connection.close()


def message(task_id: str, *, exchange: str = "fleet.tasks") -> WireMessage:
    return WireMessage(
        exchange=exchange,
        routing_key="fleet.email",
        body=b"x",
        headers={"id": task_id, "task": "t"},
        properties={"correlation_id": task_id, "delivery_mode": 2},
    )


def test_what_a_look_holds_is_back_when_it_ends_and_what_it_acknowledged_is_gone(broker: Broker) -> None:
    with broker.look() as look:
        assert look.size == 6
        held = list(islice(look.letters(at_most=4), 4))
        look.acknowledge(held[0])
        look.acknowledge(held[2])
    assert broker.counts(4) == (4, 0)
    with broker.look() as look:
        assert look.size == 4
        left = {each.letter.task_id for each in look.letters()}
    assert left == set(IDS) - {held[0].letter.task_id, held[2].letter.task_id}


def test_a_second_look_gets_only_what_the_first_one_does_not_hold(broker: Broker) -> None:
    with broker.look() as first:
        here = list(first.letters(at_most=2))
        with broker.look() as second:
            there = list(second.letters())
    ids = [each.letter.task_id for each in (*here, *there)]
    assert (len(here), len(there), set(ids)) == (2, 4, set(IDS))
    assert broker.counts(6) == (6, 0)


def test_a_queue_takes_what_it_has_room_for_and_refuses_the_rest(broker: Broker) -> None:
    answers = broker.deliver([message("a")]) + broker.deliver([message("b")])
    assert answers == [True, True]
    refused = _until(lambda: broker.deliver([message("c")]) == [False])
    assert refused


def test_of_messages_over_one_of_which_the_channel_is_closed_each_is_told(broker: Broker) -> None:
    last = broker.deliver([message("a"), message("b", exchange="nowhere"), message("c")])
    assert last == [True, False, False]
    # None of it hinders the next.
    assert broker.deliver([message("d")]) == [True]


def test_over_a_single_message_a_closed_channel_is_raised(broker: Broker) -> None:
    with pytest.raises(BrokerRefused, match=r"closed|NOT_FOUND"):
        broker.deliver([message("a", exchange="nowhere")])


def _until(condition: Callable[[], bool]) -> bool:
    # A quorum queue counts a moment later what it has just taken: its limit is soft.
    return any(condition() for _ in range(5))
