"""Does a worker begin without its metrics, and does it have them when the first message or scrape comes?"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from fleet.worker import export as worker_export
from fleet.worker.app import build_app
from fleet.worker.health import WorkerHealth
from fleet.worker.late_metrics import LateMetrics
from tests.unit.worker.fleets import context

#: what a worker needs only after it is ready, if at all
LATER = ("prometheus_client", "sqlite3", "fleet.outbox", "fleet.ledger", "pydantic")
AT_ONCE = 8


def metrics() -> LateMetrics:
    about = context()
    return LateMetrics(build_app(about), WorkerHealth(about))


def test_a_worker_imports_nothing_that_it_needs_only_later() -> None:
    code = f"import fleet.worker.run, sys; print([name for name in {LATER!r} if name in sys.modules])"
    argv = (sys.executable, "-c", code)
    assert subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout == "[]\n"


def test_a_scrape_before_the_first_message_shows_each_task_at_zero() -> None:
    scrape = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}
    body = b"".join(metrics().exposition(scrape, lambda _status, _headers: None)).decode()
    assert 'fleet_tasks_received_total{queue="fleet.email",task="fleet.send_mail"} 0.0' in body


def test_the_metrics_are_made_once_whoever_asks_at_the_same_time() -> None:
    late, all_here = metrics(), Barrier(AT_ONCE)

    def ask() -> object:
        all_here.wait(timeout=10)
        return late.tasks()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(ask) for _ in range(AT_ONCE)]
        assert len({id(each.result(timeout=30)) for each in asked}) == 1


def test_no_child_is_forked_while_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    making, forked, export = Event(), Event(), worker_export.export

    def slowly(*of: object) -> worker_export.Exported:
        making.set()
        assert not forked.wait(timeout=0.5)
        return export(*of)  # type: ignore[arg-type]  # what it was called with

    monkeypatch.setattr(worker_export, "export", slowly)
    late = metrics()
    with ThreadPoolExecutor(1) as threads:
        scrape = threads.submit(late.tasks)
        assert making.wait(timeout=10)
        child = os.fork()
        if not child:
            os._exit(0)
        forked.set()
        scrape.result(timeout=30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
