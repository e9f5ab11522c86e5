from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.worker.consumer import FleetConsumer
from fleet.worker.gate import Postpone
from fleet.worker.message import CONNECTION


class Timer:
    def __init__(self) -> None:
        self.due: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_after(self, seconds: float, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        assert seconds > 0
        self.due.append((call, arguments))

    def fire(self) -> None:
        call, arguments = self.due.pop()
        call(*arguments)


class Handover:
    """Says of each copy what it was told to say."""

    def __init__(self, answers: list[bool]) -> None:
        self.answers = answers

    def place(self, message: object, settle: Any) -> None:
        del message
        settle(placed=self.answers.pop(0))


class Message:
    def __init__(self) -> None:
        self.body = b"[[], {}, {}]"
        self.headers = {"id": "1", "task": "shop.pack"}
        self.properties: dict[str, Any] = {}
        self.delivery_info = {"exchange": "fleet.tasks", "routing_key": "fleet.shop", CONNECTION: 1}
        self.delivery_tag = 7
        self.settled: list[str] = []

    def ack_log_error(self, *_: object) -> None:
        self.settled.append("ack")

    def reject_log_error(self, *_: object, requeue: bool) -> None:
        self.settled.append(f"reject requeue={requeue}")


def consumer(handover: Handover) -> Any:
    made: Any = FleetConsumer.__new__(FleetConsumer)
    made.app = SimpleNamespace(handover=handover)
    made.timer, made.restart_count, made.connection_errors = Timer(), 1, ()
    made.call_soon = lambda call, *arguments: call(*arguments)
    return made


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_postponed_message_is_held_until_the_broker_takes_its_copy(failures: int) -> None:
    message, worker = Message(), consumer(Handover([False] * failures + [True]))
    worker._postpone(message, "fleet.shop", Postpone(delay_seconds=60))
    for _ in range(failures):
        assert message.settled == []
        assert worker.holds_back
        worker.timer.fire()
    assert message.settled == ["ack"]
    assert not worker.holds_back


def test_a_postponed_message_of_a_lost_connection_is_left_to_its_redelivery() -> None:
    handover = Handover([False, True])
    message, worker = Message(), consumer(handover)
    worker._postpone(message, "fleet.shop", Postpone(delay_seconds=60))
    worker.restart_count += 1
    worker.timer.fire()
    assert handover.answers == [True]
    assert message.settled == []
