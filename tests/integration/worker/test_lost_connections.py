"""What happens to a task when its worker loses the broker, its life, or the last word?"""

import signal
from collections.abc import Callable
from pathlib import Path

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.faults.stage import children_of
from tests.integration.worker.conftest import Shop, eventually, shops
from tests.servers import Provisioned, RunFleet, StartWorker


def is_idle(pid: int) -> bool:
    """Tell whether ``pid`` waits, as a child does that has nothing more to do or say."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def redelivered(shop: Shop, worker: str) -> float:
    return shop.metric(worker, "fleet_tasks_redelivered_total")


def test_a_long_task_whose_connection_is_cut_twice_starts_once_and_ends_once(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start("slow")
        shop.send("probe.hold", queue="slow", host="alpha")
        shop.expect("start")
        cable.pull()
        eventually(lambda: redelivered(shop, "slow") == 1, what="the broker delivers it again")
        shop.close_connections()
        eventually(lambda: redelivered(shop, "slow") == 2, what="the broker delivers it again")
        assert not shop.notes("end")
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        eventually(lambda: shop.metric("slow", "fleet_tasks_finished_total") == 1)
        worker.stop()
    assert len(shop.notes("start")) == 1


def test_a_long_task_outlives_a_power_cut_of_its_broker(
    own_rabbit: RabbitNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> None:
    there = Provisioned(vhost=BrokerVhost.name_only(own_rabbit, tmp_path), run_fleet=run_fleet)
    with shops(there, start_worker, tmp_path) as make:
        shop = make()
        shop.start("slow")
        shop.send("probe.hold", queue="slow", host="alpha")
        shop.expect("start")
        own_rabbit.kill()
        own_rabbit.restart()
        eventually(lambda: redelivered(shop, "slow") == 1, seconds=60, what="the broker delivers it again")
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        assert len(shop.notes("start")) == len(shop.notes("end")) == 1
        assert "Warning" not in shop.worker_logs()


def test_a_long_task_whose_acknowledgement_is_lost_is_not_started_again(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start("slow")
        shop.send("probe.sleep", 1, queue="slow", host="alpha")
        shop.expect("start")
        cable.deaf.set()
        eventually(lambda: shop.metric("slow", "fleet_tasks_finished_total") == 1)
        cable.pull()
        cable.deaf.clear()
        eventually(lambda: redelivered(shop, "slow") == 1, what="the broker delivers it again")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        shop.send("probe.sleep", 0, queue="slow", host="alpha")
        shop.expect("end", "0")
        worker.stop()
    assert len(shop.notes("start", "1")) == 1


def test_a_short_task_whose_acknowledgement_is_lost_is_not_started_again(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.sleep", 1, queue="shop")
        shop.expect("start")
        cable.deaf.set()
        eventually(lambda: shop.metric("shared", "fleet_tasks_finished_total") == 1)
        cable.pull()
        cable.deaf.clear()
        eventually(lambda: redelivered(shop, "shared") == 1, what="the broker delivers it again")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        eventually(lambda: "event=task_settled" in shop.worker_logs(), what="it is known to have ended")
        shop.send("probe.sleep", 0, queue="shop")
        shop.expect("end", "0")
        worker.stop()
    assert len(shop.notes("start", "1")) == 1


def test_a_short_task_whose_reject_is_lost_is_dead_lettered_and_not_started_again(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.fall", queue="shop")
        shop.expect("start")
        cable.deaf.set()
        shop.release()
        eventually(lambda: shop.metric("shared", "fleet_tasks_finished_total") == 1)
        cable.pull()
        cable.deaf.clear()
        eventually(lambda: redelivered(shop, "shared") == 1, what="the broker delivers it again")
        assert len(shop.dead_letters("shop", at_least=1)) == 1
        eventually(lambda: shop.depth("fleet.shop") == 0)
        worker.stop()
    assert len(shop.notes("start")) == 1


def test_a_short_task_that_ends_while_its_worker_is_about_to_see_the_loss_is_not_started_again(
    shop: Shop,
) -> None:
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.hold", queue="shop")
        shop.expect("start")
        worker.signal(signal.SIGSTOP)
        cable.pull()
        shop.release()
        shop.expect("end")
        # Its child says so once it has noted the end, and then waits for the next task.
        eventually(lambda: all(map(is_idle, children_of(worker.pid))), what="the children wait")
        worker.signal(signal.SIGCONT)
        eventually(lambda: "event=task_settled" in shop.worker_logs(), what="it is known to have ended")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        worker.stop()
    assert len(shop.notes("start")) == len(shop.notes("end")) == 1


def test_a_short_task_that_takes_being_stopped_for_its_end_runs_again(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.excuse", queue="shop")
        shop.expect("start")
        cable.pull()
        shop.expect("excused")
        shop.expect("start", times=2)
        shop.release()
        shop.expect("whole")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        worker.stop()


def test_a_short_task_whose_connection_is_cut_is_stopped_and_runs_again(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.hold", queue="shop")
        shop.expect("start")
        cable.pull()
        shop.expect("start", times=2)
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        worker.stop()
    assert len(shop.notes("start")) == 2
    assert len(shop.notes("end")) == 1


def test_a_short_task_in_a_thread_cannot_be_stopped_and_is_adopted(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(pool="threads")
    with shop.cable() as cable:
        worker = shop.start()
        shop.send("probe.hold", queue="shop")
        shop.expect("start")
        cable.pull()
        eventually(lambda: redelivered(shop, "shared") == 1, what="the broker delivers it again")
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        worker.stop()
    assert len(shop.notes("start")) == len(shop.notes("end")) == 1


def test_the_task_of_a_killed_worker_runs_elsewhere(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop("alpha", "beta")
    doomed = shop.start("shared", host="alpha")
    shop.send("probe.hold", queue="shop")
    shop.expect("start")
    shop.start("shared", host="beta")
    doomed.kill()
    shop.expect("start", times=2)
    shop.release()
    shop.expect("end")
    eventually(lambda: shop.depth("fleet.shop") == 0)
    assert shop.metric("shared", "fleet_tasks_redelivered_total", host="beta") == 1
    assert len(shop.notes("end")) == 1


def test_a_running_backup_never_delays_a_short_task_on_its_host(shop: Shop) -> None:
    shop.start("slow")
    shop.start("shared")
    shop.send("probe.hold", queue="slow", host="alpha")
    shop.expect("start")
    for number in range(10):
        shop.send("probe.ok", f"mail-{number}")
    shop.expect("ok", times=10)
    assert not shop.notes("end")


def test_a_worker_told_to_stop_finishes_its_task_and_gives_back_what_it_holds(shop: Shop) -> None:
    worker = shop.start("slow")
    for _ in range(2):
        shop.send("probe.hold", queue="slow", host="alpha")
    shop.expect("start")
    worker.signal(signal.SIGTERM)
    eventually(lambda: shop.metric("slow", "fleet_worker_draining") == 1)
    shop.release()
    assert worker.wait(20)
    assert len(shop.notes("start")) == len(shop.notes("end")) == 1
    eventually(lambda: shop.depth("fleet.slow.alpha") == 1)


def test_a_worker_that_is_killed_gives_back_what_still_ran_and_nothing_that_ended_behind_it(
    shop: Shop,
) -> None:
    worker = shop.start()
    shop.send("probe.hold", "first")
    shop.expect("start", "first")
    for number in range(100):
        shop.send("probe.ok", f"behind-{number}")
    shop.expect("ok", times=100)
    # Each was acknowledged though the first delivery is open; together with it none may be.
    eventually(lambda: shop.depth("fleet.shop") == 1, what="what ended is acknowledged")
    worker.kill()
    assert shop.depth("fleet.shop") == 1
    shop.start()
    shop.release()
    shop.expect("end", "first")
    eventually(lambda: shop.depth("fleet.shop") == 0)
    assert len(shop.notes("start", "first")) == 2
    assert len(shop.notes("ok")) == 100
