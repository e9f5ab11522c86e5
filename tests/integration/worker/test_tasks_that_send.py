"""What a task sends, its own next attempt included: does it reach the broker, and what if it cannot?"""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from fleet.routes import DELAY_EXCHANGE
from tests.broker import BrokerVhost
from tests.integration.worker.conftest import Shop, eventually, shops
from tests.integration.worker.test_outcomes import reasons
from tests.servers import Provisioned, RunFleet, StartWorker

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def taken(shop: Shop, queue: str, *, seconds: float = 10) -> Any:
    """Return the next message of ``queue``, as soon as there is one."""
    found: list[Any] = []
    with closing(shop.admin_connection()) as connection:
        channel = connection.channel()

        def get() -> bool:
            found.append(channel.basic_get(queue, no_ack=True))
            return found[-1] is not None

        eventually(get, seconds=seconds, what=f"a message in {queue}")
    return found[-1]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_retries_and_tasks_of_tasks_reach_their_queues_from_every_pool(
    make_shop: Callable[..., Shop], pool: str
) -> None:
    shop = make_shop(pool=pool)
    shop.start()
    for _ in range(3):
        shop.send("probe.pass_on", retries=2)
    shop.expect("ok", "passed", times=3)
    assert sorted(note[1] for note in shop.notes("pass_on")) == ["0", "0", "0", "1", "1", "1", "2", "2", "2"]
    eventually(lambda: shop.depth("fleet.shop") == 0)


def test_a_task_of_a_task_is_stamped_persistent_and_in_its_senders_trace(shop: Shop) -> None:
    shop.start("slow")
    before = time.time()
    shop.send("probe.pass_on", queue="slow", host="alpha", traceparent=TRACE, retries=1)
    message = taken(shop, "fleet.shop")
    (_, _, trace, sent), (_, _, retried_trace, retried_sent) = shop.notes("pass_on")
    assert trace == retried_trace == TRACE
    assert float(retried_sent) > float(sent)

    version, trace_id, span, flags = message.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE.split("-")[1], "01")
    assert span not in TRACE
    assert span == message.headers["id"].replace("-", "")[16:]
    assert before < message.headers["fleet_first"] == message.headers["fleet_sent"] < time.time()
    assert int(before) <= message.properties["timestamp"] <= time.time()
    assert message.properties["delivery_mode"] == 2
    assert message.properties["correlation_id"] == message.headers["id"]


def test_a_task_of_a_task_with_a_delay_waits_in_the_broker(shop: Shop) -> None:
    shop.start("slow")
    shop.send("probe.pass_on", queue="slow", host="alpha", countdown=1.2)
    shop.expect("sent")
    message = taken(shop, "fleet.shop")
    assert message.delivery_info["routing_key"].endswith("0.1.0.fleet.shop")
    assert message.headers["eta"]


def test_a_task_of_a_task_that_its_worker_may_not_send_is_an_error_in_the_sending_one(shop: Shop) -> None:
    shop.start()
    shop.send("probe.pass_on", exchange="fleet.tasks", routing_key="fleet.nowhere")
    shop.expect("unsent", "Misdirected")
    (letter,) = shop.dead_letters("shop", at_least=1)
    assert reasons(letter) == ["rejected"]
    assert "access to topic 'fleet.nowhere' in exchange 'fleet.tasks'" in shop.worker_logs()


def test_a_retry_that_the_broker_has_no_place_for_is_dead_lettered_at_once(shop: Shop) -> None:
    shop.start()
    with closing(shop.admin_connection()) as connection:
        connection.channel().exchange_delete(DELAY_EXCHANGE)
    task_id = shop.send("probe.pass_on", retries=1)
    (letter,) = shop.dead_letters("shop", at_least=1)
    assert letter["properties"]["headers"]["id"] == task_id
    assert reasons(letter) == ["rejected"]
    assert len(shop.notes("pass_on")) == 1
    assert "event=retry_failed" in shop.worker_logs()
    assert f"no exchange '{DELAY_EXCHANGE}'" in shop.worker_logs()
    assert shop.depth("fleet.shop") == 0


def test_a_retry_during_an_alarm_puts_its_task_back_and_goes_on_when_the_alarm_is_over(
    own_rabbit: RabbitNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> None:
    there = Provisioned(vhost=BrokerVhost.name_only(own_rabbit, tmp_path), run_fleet=run_fleet)
    with shops(there, start_worker, tmp_path) as make:
        shop = make()
        shop.start()
        shop.send("probe.pass_on", retries=1, hold=True)
        shop.expect("pass_on", "0")
        own_rabbit.ctl("set_vm_memory_high_watermark", "0")
        shop.release()
        shop.expect("pass_on", "0", times=2, seconds=40)
        assert "the broker holds publishers back (memory or disk alarm)" in shop.worker_logs()
        assert "goes_back=True" in shop.worker_logs()
        assert shop.depth("fleet.shop") == 1
        own_rabbit.ctl("set_vm_memory_high_watermark", "0.4")
        shop.expect("pass_on", "1", seconds=40)
        shop.expect("ok", "passed")
        eventually(lambda: shop.depth("fleet.shop") == 0)
        assert shop.depth("fleet.shop.dlq") == 0
