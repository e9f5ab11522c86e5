import pytest

from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError
from fleet.worker.preflight import await_broker


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def ask(answers: list[FleetError | None], *, wait_seconds: float) -> float:
    """Return how long it took until the broker was found."""
    clock = Clock()

    def look() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    await_broker(look, wait_seconds=wait_seconds, clock=clock.read, sleep=clock.sleep)
    return clock.now


def test_a_broker_that_comes_up_late_is_waited_for() -> None:
    gone = BrokerUnreachable("gone")
    assert ask([gone, gone, None], wait_seconds=30) == 4.0


def test_a_broker_that_does_not_come_up_is_given_up() -> None:
    with pytest.raises(BrokerUnreachable):
        ask([BrokerUnreachable("gone")] * 100, wait_seconds=30)


def test_without_a_wait_the_broker_is_asked_once() -> None:
    answers: list[FleetError | None] = [BrokerUnreachable("gone"), None]
    with pytest.raises(BrokerUnreachable):
        ask(answers, wait_seconds=0)
    assert answers == [None]


def test_a_broker_that_says_no_is_not_asked_again() -> None:
    answers: list[FleetError | None] = [BrokerRefused("wrong password"), None]
    with pytest.raises(BrokerRefused):
        ask(answers, wait_seconds=30)
    assert answers == [None]
