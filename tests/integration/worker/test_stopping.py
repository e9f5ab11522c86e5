"""How does a worker end when it is told to, alone and under its supervisor, and what becomes of its tasks?

Tasks note their start and their end in a file that is only appended to; so one start and one end is one run.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from fleet.daemons.process import Child
from tests.integration.worker.conftest import ENVIRON, Shop, eventually
from tests.servers import clean_environ

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT
#: what a worker and its supervisor may take on a busy machine beyond what they wait for
SOON = 15


def ends(worker: Child, *, seconds: float = SOON) -> int:
    """Wait for ``worker`` to end and return its exit code, leaving it to be collected."""
    assert worker.wait(seconds), worker.last_words()
    return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT).si_status  # type: ignore[union-attr]  # WEXITED waits


def runs(shop: Shop, word: str) -> tuple[int, int]:
    return len(shop.notes("start", word)), len(shop.notes("end", word))


def hold(shop: Shop, *words: str, queue: str = "shop") -> None:
    host = "alpha" if queue == "slow" else None
    for word in words:
        shop.send("probe.hold", word, queue=queue, host=host)
        shop.expect("start", word)


def test_what_runs_is_finished_and_what_waits_is_given_to_another_worker_at_once(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop("alpha", "beta")
    leaving = shop.start("shared", host="alpha")
    hold(shop, "a", "b")
    for number in range(5):
        shop.send("probe.ok", f"waits-{number}")
    eventually(lambda: shop.metric("shared", "fleet_tasks_received_total") == 7)
    shop.start("shared", host="beta")
    leaving.signal(TERM)
    shop.expect("ok", times=5)
    assert leaving.is_alive()
    assert not shop.notes("end")
    shop.release()
    assert ends(leaving) == 0
    assert runs(shop, "a") == runs(shop, "b") == (1, 1)
    assert len(shop.notes("ok")) == 5
    eventually(lambda: shop.depth("fleet.shop") == 0)


@pytest.mark.parametrize("signals", [(TERM,), (TERM, TERM), (INT, INT), (QUIT,)], ids=str)
def test_what_still_runs_at_the_deadline_or_at_a_second_signal_is_stopped_and_runs_again(
    make_shop: Callable[..., Shop], signals: tuple[signal.Signals, ...]
) -> None:
    shop = make_shop(stop_timeout="2s" if signals == (TERM,) else "300s")
    worker = shop.start()
    hold(shop, "a", "b")
    for number in signals:
        worker.signal(number)
        time.sleep(0.3)  # two of one signal at once are one to the kernel
    assert ends(worker) == (130 if INT in signals else 0)
    assert runs(shop, "a") == runs(shop, "b") == (1, 0)
    assert "worker_cut_short" in shop.worker_logs()
    eventually(lambda: shop.depth("fleet.shop") == 2)
    shop.start()
    shop.expect("start", times=4)
    shop.release()
    shop.expect("end", times=2)
    eventually(lambda: shop.depth("fleet.shop") == 0)
    assert runs(shop, "a") == runs(shop, "b") == (2, 1)


def test_a_task_that_ignores_its_end_is_killed_after_a_grace_or_at_one_more_signal_at_once(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(stop_timeout="300s")
    worker = shop.start()
    shop.send("probe.stubborn")
    shop.expect("start")
    worker.signal(QUIT)
    assert not worker.wait(5)
    worker.signal(QUIT)
    assert ends(worker, seconds=3) == 0
    second = shop.start()
    shop.expect("start", times=2)
    second.signal(QUIT)
    assert ends(second, seconds=10 + SOON) == 0
    assert not shop.notes("end")
    eventually(lambda: shop.depth("fleet.shop") == 1)


def test_what_waits_for_a_rate_limit_or_for_its_time_is_given_back(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop("alpha", "beta")
    leaving = shop.start("shared", host="alpha")
    for word in ("first", "second", "third"):
        shop.send("probe.limited", word)
    soon = datetime.now(UTC) + timedelta(seconds=9)
    web = shop.publisher()
    headers = {"lang": "py", "task": "probe.ok", "id": "1", "retries": 0, "eta": soon.isoformat()}
    web.publish(headers, [["due"], {}, {}])
    web.close()
    shop.expect("end", "first")
    eventually(lambda: shop.metric("shared", "fleet_tasks_received_total") == 4)
    leaving.signal(TERM)
    # Before the time that one of them waits for, which is as far off as a worker holds a message itself.
    assert ends(leaving, seconds=5) == 0
    assert "given_back=3" in shop.worker_logs()
    assert not shop.notes("ok")
    shop.start("shared", host="beta")
    shop.expect("ok", "due")
    # One of the two has the other worker's first token of the hour; in which order they come back is open.
    shop.expect("end", times=2, seconds=60)
    assert sorted([runs(shop, "second"), runs(shop, "third")]) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("number", [TERM, INT])
def test_an_idle_worker_ends_soon(shop: Shop, number: signal.Signals) -> None:
    worker = shop.start()
    worker.signal(number)
    assert ends(worker, seconds=5) == (130 if number == INT else 0)
    assert "worker_cut_short" not in shop.worker_logs()


def test_a_shutdown_by_remote_control_drains_as_a_signal_does(shop: Shop) -> None:
    worker = shop.start()
    hold(shop, "a")
    operator = {"FLEET_FILE": str(shop.file), "FLEET_BROKER_USER": f"operator-web-{shop.vhost.name}"}
    subprocess.run(
        (sys.executable, "-m", "celery", "-A", "fleet.worker.app", "control", "shutdown"),
        env=clean_environ() | ENVIRON | operator,
        capture_output=True,
        timeout=30,
        check=True,
    )
    eventually(lambda: shop.metric("shared", "fleet_worker_draining") == 1)
    assert not shop.notes("end")
    shop.release()
    assert ends(worker) == 0
    assert runs(shop, "a") == (1, 1)


def test_threads_finish_what_they_run_and_start_nothing_more(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(pool="threads")
    worker = shop.start()
    hold(shop, "a", "b")
    for number in range(5):
        shop.send("probe.ok", f"waits-{number}")
    eventually(lambda: shop.metric("shared", "fleet_tasks_received_total") == 7)
    worker.signal(TERM)
    eventually(lambda: "worker_draining" in shop.worker_logs())
    shop.release()
    assert ends(worker) == 0
    assert runs(shop, "a") == runs(shop, "b") == (1, 1)
    assert not shop.notes("ok")
    eventually(lambda: shop.depth("fleet.shop") == 5)


def test_threads_that_do_not_finish_end_with_their_process(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(pool="threads", stop_timeout="1s")
    worker = shop.start()
    hold(shop, "a")
    worker.signal(TERM)
    assert ends(worker) == 0
    assert runs(shop, "a") == (1, 0)
    eventually(lambda: shop.depth("fleet.shop") == 1)


def test_a_long_task_that_loses_its_connection_while_its_worker_drains_still_runs_once(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start("slow")
        hold(shop, "a", queue="slow")
        shop.send("probe.hold", "b", queue="slow", host="alpha")
        worker.signal(TERM)
        eventually(lambda: "worker_draining" in shop.worker_logs())
        cable.pull()
        eventually(lambda: shop.worker_logs().count("event=task_adopted") == 1)
        shop.release()
        assert ends(worker) == 0
    assert runs(shop, "a") == (1, 1)
    assert runs(shop, "b") == (0, 0)
    eventually(lambda: shop.depth("fleet.slow.alpha") == 1)


def test_a_worker_whose_broker_is_away_ends_at_once_when_idle_and_at_its_deadline_when_not(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(stop_timeout="3s")
    with shop.cable() as cable:
        busy, idle = shop.start("slow"), shop.start("shared")
        hold(shop, "a", queue="slow")
        cable.cut()
        connected = partial(shop.metric, name="fleet_worker_broker_connected")
        eventually(lambda: connected("slow") == connected("shared") == 0)
        began = time.monotonic()
        idle.signal(TERM)
        busy.signal(TERM)
        assert ends(idle, seconds=3 + SOON) == 0
        assert ends(busy, seconds=3 + SOON) == 0
        assert time.monotonic() - began >= 3
    assert runs(shop, "a") == (1, 0)


def test_a_supervisor_drains_all_its_workers(shop: Shop) -> None:
    supervisor = shop.start(None)
    hold(shop, "short")
    hold(shop, "long", queue="slow")
    supervisor.signal(TERM)
    draining = partial(shop.metric, name="fleet_worker_draining")
    eventually(lambda: draining("slow") == draining("shared") == 1)
    assert not shop.notes("end")
    shop.release()
    assert ends(supervisor) == 0
    assert runs(shop, "short") == runs(shop, "long") == (1, 1)
    eventually(lambda: shop.depth("fleet.shop") == shop.depth("fleet.slow.alpha") == 0)


@pytest.mark.parametrize("signals", [(TERM,), (INT, INT), (QUIT,)], ids=str)
def test_a_supervisor_passes_deadline_second_signal_and_quit_on(
    make_shop: Callable[..., Shop], signals: tuple[signal.Signals, ...]
) -> None:
    shop = make_shop(stop_timeout="2s" if signals == (TERM,) else "300s")
    supervisor = shop.start(None)
    hold(shop, "short")
    hold(shop, "long", queue="slow")
    for number in signals:
        supervisor.signal(number)
        time.sleep(0.5)  # two of one signal at once are one to the kernel
    assert ends(supervisor) == (130 if INT in signals else 0)
    assert "is killed" not in shop.worker_logs()
    assert runs(shop, "short") == runs(shop, "long") == (1, 0)
    eventually(lambda: shop.depth("fleet.shop") == shop.depth("fleet.slow.alpha") == 1)
