"""How is it waited for that nothing runs on a host any more?"""

from collections.abc import Mapping
from typing import Any

import pytest

from fleet.ops import drain
from fleet.ops.drain import TOLD_SECONDS, Running, await_rest
from provisioning.hosts.many import Done
from tests.unit.hosts.fleets import office

UNIT = "fleet-worker@shop-a.service"
WORKS, DRAINS = "1 running, 0 waiting", "draining, 1 task left"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def told(monkeypatch: pytest.MonkeyPatch, *statuses: str) -> list[str]:
    """Return what is told of one worker that says ``statuses``, one at each look, and then the last."""
    left = list(statuses)

    def look(*_: object, **__: object) -> tuple[Done[tuple[Running, ...]], ...]:
        status = left.pop(0) if len(left) > 1 else left[0]
        return (Done(name="alpha", value=(Running(unit=UNIT, status=status),), error=None, seconds=0.1),)

    heard: list[str] = []

    def hear(running: Mapping[str, tuple[Running, ...]]) -> None:
        heard.extend(each.status for each in running["alpha"])

    clock: Any = Clock()
    monkeypatch.setattr(drain, "time", clock)
    monkeypatch.setattr(drain, "still_running", look)
    await_rest(office(), office().hosts, seconds=0, on_look=hear)
    assert clock.now <= TOLD_SECONDS + drain.FIRST_PAUSE_SECONDS
    return heard


def test_a_worker_that_has_just_been_told_to_end_is_given_time_to_say_what_it_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert told(monkeypatch, WORKS, WORKS, DRAINS) == [DRAINS]


def test_one_that_never_says_so_is_told_of_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, WORKS) == [WORKS]
