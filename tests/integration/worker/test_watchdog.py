"""Does a worker that gets nowhere, though its process lives and its heart beats, end by itself?"""

import os
import signal

from fleet.daemons.process import Child
from fleet.daemons.rabbitmq import RabbitNode
from tests.integration.worker.conftest import Shop, eventually

FAILED = 1


def ends_by_itself(worker: Child, *, seconds: float) -> int:
    assert worker.wait(seconds), worker.last_words()
    return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT).si_status  # type: ignore[union-attr]  # WEXITED waits


def test_a_worker_that_no_message_reaches_ends_with_one_clear_line(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start(FLEET_WORKER_WATCHDOG="3")
        cable.mute.set()
        for number in range(20):
            shop.send("probe.ok", f"number-{number}")
        assert ends_by_itself(worker, seconds=30) == FAILED
        assert not shop.notes("ok")
    lines = [line for line in shop.worker_logs().splitlines() if "event=worker_stuck" in line]
    assert len(lines) == 1
    # Twenty less the eight that the broker believes the worker to have.
    assert "12 messages are ready and none has come for" in lines[0]
    eventually(lambda: shop.depth("fleet.shop") == 20)


def test_a_supervisor_starts_a_stuck_worker_again_and_nothing_is_lost(shop: Shop) -> None:
    with shop.cable() as cable:
        supervisor = shop.start(None, FLEET_WORKER_WATCHDOG="3")
        cable.mute.set()
        for number in range(20):
            shop.send("probe.ok", f"number-{number}")
        eventually(lambda: "event=worker_stuck" in shop.worker_logs(), seconds=30)
        cable.mute.clear()
        shop.expect("ok", times=20, seconds=30)
        assert len(shop.notes("ok")) == 20
        eventually(lambda: shop.depth("fleet.shop") == 0)
        supervisor.signal(signal.SIGTERM)
        assert supervisor.wait(30)


def test_a_worker_whose_event_loop_hangs_ends_and_its_task_runs_again(shop: Shop) -> None:
    worker = shop.start(FLEET_WORKER_WATCHDOG="3", PROBE_BLOCK="1")
    shop.send("probe.hold")
    shop.expect("start")
    assert ends_by_itself(worker, seconds=30) == FAILED
    assert "event loop has not turned for" in shop.worker_logs()
    eventually(lambda: shop.depth("fleet.shop") == 1)
    assert not shop.notes("end")


def test_an_idle_worker_and_a_busy_one_are_left_alone(shop: Shop) -> None:
    # Not so short that a busy machine looks like a loop that hangs.
    worker = shop.start(FLEET_WORKER_WATCHDOG="3")
    eventually(lambda: connections(shop, "watchdog") >= 3, seconds=60, what="it has asked three times")
    assert not shop.vhost.api("GET", f"vhosts/{shop.vhost.name}").get("message_stats"), (
        "messages of an idle worker"
    )
    for word in ("a", "b", "waits"):
        shop.send("probe.hold", word, queue="shop")
    shop.expect("start", times=2)
    asked = connections(shop, "watchdog")
    assert not worker.wait(8)
    assert connections(shop, "watchdog") <= asked + 1
    shop.release()
    shop.expect("end", times=3)
    assert "worker_stuck" not in shop.worker_logs()


def connections(shop: Shop, purpose: str) -> int:
    """Return how many connections for ``purpose`` of this test's worker the broker has logged by now."""
    node = shop.vhost.node
    assert isinstance(node, RabbitNode)
    log = next((node.directory / "log").glob("fleet@localhost.log")).read_text(errors="replace")
    mine = [line for line in log.splitlines() if f"vhost: '{shop.vhost.name}'" in line]
    return sum(f"alpha {purpose}" in line for line in mine)
