import threading
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.worker import guard
from fleet.worker.guard import Doors, Guard
from fleet.worker.stop import Stage, Stopping
from tests.unit.worker.test_health import health

#: nobody waits for it here: events come at once
LIMIT_SECONDS = 10.0


class Looks:
    """What a guard reports to, as far as it is told when to look."""

    def __init__(self) -> None:
        self._came = threading.Semaphore(0)

    def look(self, stage: Stage) -> None:
        assert stage is Stage.RUN
        self._came.release()

    def await_one(self) -> bool:
        return self._came.acquire(timeout=LIMIT_SECONDS)


def test_a_guard_that_is_called_looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "POLL_SECONDS", 3600.0)
    looks, app = Looks(), SimpleNamespace(stopping=Stopping(10.0))
    reporter: Any = looks
    one = Guard(app, health(), Doors(ready_messages=lambda _: None), watchdog=None, reporter=reporter)  # type: ignore[arg-type]
    one.start(SimpleNamespace())
    try:
        for _ in range(2):
            one.call()
            assert looks.await_one()
    finally:
        one.close()
