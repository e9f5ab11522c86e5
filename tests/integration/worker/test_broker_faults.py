"""Does a worker outlive what a broker does to its channels and connections, and does its task run once?"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.integration.worker.conftest import Shop, eventually, shops
from tests.servers import Provisioned, RunFleet, StartWorker, skipped_without_packages

#: consumers may hold a message for three seconds, and the broker looks every second instead of every minute
IMPATIENT = "[{rabbit, [{consumer_timeout, 3000}, {channel_tick_interval, 1000}]}].\n"


@pytest.fixture
def impatient_rabbit(tmp_path: Path) -> Iterator[RabbitNode]:
    """A node that takes messages back from consumers after a few seconds."""
    directory = tmp_path / "impatient-node"
    directory.mkdir()
    (directory / "advanced.config").write_text(IMPATIENT)
    with skipped_without_packages():
        node = RabbitNode.start(directory)
    try:
        yield node
    finally:
        node.kill()
        node.stop()


def test_a_task_that_outlasts_the_consumer_timeout_again_and_again_runs_once(
    impatient_rabbit: RabbitNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> None:
    there = Provisioned(vhost=BrokerVhost.name_only(impatient_rabbit, tmp_path), run_fleet=run_fleet)
    with shops(there, start_worker, tmp_path) as make:
        shop = make()
        worker = shop.start("slow")
        shop.send("probe.hold", queue="slow", host="alpha")
        shop.expect("start")
        eventually(lambda: shop.worker_logs().count("event=task_adopted") >= 3, seconds=40)
        assert "PRECONDITION_FAILED" in shop.worker_logs()
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        assert len(shop.notes("start")) == len(shop.notes("end")) == 1
        assert worker.is_alive()


def test_a_worker_whose_mailbox_is_held_by_a_dead_connection_comes_back_when_it_is_free(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start("slow")
        shop.send("probe.hold", queue="slow", host="alpha")
        shop.expect("start")
        cable.cut()
        with closing(shop.admin_connection()) as connection:
            channel = connection.channel()
            mailbox = "slow-a@alpha.celery.pidbox"
            eventually(lambda: mailbox not in queues(shop), what="the worker's own mailbox is gone")
            channel.queue_declare(mailbox, exclusive=True)
            cable.mend()
            eventually(lambda: shop.worker_logs().count("RESOURCE_LOCKED") >= 4)
            assert worker.is_alive()
            # Each attempt that had taken the task before it failed would count against its delivery limit.
            waiting = channel.basic_get("fleet.slow.alpha")
            assert waiting.headers["x-delivery-count"] == 1
            channel.basic_reject(waiting.delivery_tag, requeue=True)
        eventually(lambda: shop.worker_logs().count("event=task_adopted") >= 1)
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        worker.stop()
    assert len(shop.notes("start")) == len(shop.notes("end")) == 1


def test_a_connection_that_is_open_and_dumb_is_given_up_and_the_task_runs_once(shop: Shop) -> None:
    with shop.cable() as cable:
        worker = shop.start("slow")
        shop.send("probe.hold", queue="slow", host="alpha")
        shop.expect("start")
        cable.silent.set()
        connected = "fleet_worker_broker_connected"
        eventually(lambda: shop.metric("slow", connected) == 0, seconds=45, what="two heartbeats are missed")
        cable.silent.clear()
        # The broker still believes in the old connection, which it has not heard of for as long.
        eventually(lambda: shop.metric("slow", "fleet_worker_consuming") == 1, seconds=30)
        assert "RESOURCE_LOCKED" not in shop.worker_logs()
        eventually(lambda: shop.worker_logs().count("event=task_adopted") == 1, seconds=60)
        shop.release()
        shop.expect("end")
        eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
        worker.stop()
    assert len(shop.notes("start")) == len(shop.notes("end")) == 1


def queues(shop: Shop) -> str:
    return shop.vhost.node.ctl("--quiet", "list_queues", "--vhost", shop.vhost.name, "name")
