import time
from dataclasses import replace
from typing import Any

import pytest

from fleet.metrics.state import RunningTask
from fleet.model import Pool
from fleet.worker.notify import Notifier
from fleet.worker.report import Reporter, status
from fleet.worker.stop import Stage
from tests.unit.worker.test_health import BOTH, consumer, health

TASK = RunningTask(task="fleet.backup", queue="fleet.backup.alpha", started=0.0)


class Told:
    """A notifier's datagrams, as text."""

    def __init__(self, *, watchdog_seconds: float = 0.0) -> None:
        self.lines: list[str] = []
        self.notifier = Notifier(self._take, watchdog_seconds=watchdog_seconds)

    def _take(self, message: bytes) -> None:
        self.lines += message.decode().split("\n")

    def of(self, start: str) -> list[str]:
        return [line for line in self.lines if line.startswith(start)]


def reporter(told: Told, **state: Any) -> tuple[Reporter, Any]:
    seen = health(**state)
    return Reporter(told.notifier, seen, pool=Pool.PREFORK), seen


def test_a_worker_is_ready_when_the_broker_delivers_all_its_queues() -> None:
    told = Told()
    one, seen = reporter(told, tick=99.0, queues=BOTH[:1])
    one.look(Stage.RUN)
    assert not told.of("READY=1")
    seen.watch(consumer(tick=99.0, queues=BOTH))
    one.look(Stage.RUN)
    one.look(Stage.RUN)
    assert told.of("READY=1") == ["READY=1"]


def test_an_event_loop_that_does_not_turn_gives_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    told, clock = Told(watchdog_seconds=9.0), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    one, seen = reporter(told, tick=99.0, queues=BOTH)
    one.look(Stage.RUN)
    assert told.of("WATCHDOG") == ["WATCHDOG=1"]
    clock[0] = 5.0
    one.look(Stage.RUN)
    assert told.of("WATCHDOG") == ["WATCHDOG=1"]
    seen.watch(consumer(tick=100.0, queues=BOTH))
    one.look(Stage.RUN)
    assert told.of("WATCHDOG") == ["WATCHDOG=1"] * 2


def test_a_worker_that_waits_for_the_broker_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    told, clock = Told(watchdog_seconds=9.0), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    one, _ = reporter(told, tick=99.0, queues=(), connected=False)
    for clock[0] in (0.0, 5.0, 10.0):
        one.look(Stage.RUN)
    assert len(told.of("WATCHDOG")) == 3


def test_an_idle_worker_that_is_told_to_stop_asks_for_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told, clock = Told(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    one, _ = reporter(told, tick=99.0, queues=BOTH)
    for clock[0] in (0.0, 10.0, 20.0):
        one.look(Stage.DRAIN)
    assert told.of("STOPPING") == ["STOPPING=1"]
    assert len(told.of("EXTEND")) == 1


def test_a_worker_that_cuts_tasks_short_asks_for_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told, clock = Told(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    one, _ = reporter(told, tick=99.0, queues=BOTH)
    for clock[0] in (0.0, 10.0):
        one.look(Stage.CUT)
    assert len(told.of("EXTEND")) == 2


@pytest.mark.parametrize(
    ("running", "changed", "stage", "alarm", "text"),
    [
        (1, {}, Stage.RUN, False, "1 running, 0 waiting"),
        (0, {}, Stage.RUN, True, "0 running, 0 waiting, the broker holds publishers back (alarm)"),
        (0, {"queues": BOTH[:1]}, Stage.RUN, False, "0 running, 0 waiting, not consuming fleet.shop"),
        (0, {"connected": False}, Stage.RUN, False, "waiting for the broker, 0 running, 0 waiting"),
        (1, {}, Stage.DRAIN, False, "draining, 1 task left"),
        (3, {}, Stage.DRAIN, False, "draining, 3 tasks left"),
        (2, {}, Stage.CUT, False, "ending, 2 tasks cut short"),
    ],
)
def test_a_status_says_what_a_worker_does(
    running: int, changed: dict[str, Any], stage: Stage, *, alarm: bool, text: str
) -> None:
    state = health(**(dict[str, Any](tick=99.0, queues=BOTH) | changed)).snapshot()
    assert status(replace(state, running=(TASK,) * running), stage, is_held_back=alarm) == text
