from dataclasses import replace
from socket import TCP_USER_TIMEOUT
from typing import Any

import pytest

from fleet.errors import UsageError
from fleet.model import Kind, Node, Pool
from fleet.worker.settings import worker_settings
from tests.unit.worker.fleets import context


def values(worker: str = "shared", **options: Any) -> dict[str, Any]:
    return {setting.name: setting.value for setting in worker_settings(context(worker, **options))}


@pytest.mark.parametrize("worker", ["backup", "shared"])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_setting_stands_once_and_has_its_reason(worker: str, kind: Kind) -> None:
    settings = worker_settings(context(worker, kind=kind))
    names = [setting.name for setting in settings]
    assert len(names) == len(set(names))
    assert all(len(setting.reason) > 10 for setting in settings)


def test_a_long_worker_holds_one_message_and_keeps_its_task_over_a_lost_connection() -> None:
    long = values("backup")
    assert long["worker_prefetch_multiplier"] == 1
    assert long["worker_cancel_long_running_tasks_on_connection_loss"] is False


def test_a_short_worker_holds_a_few_messages_and_stops_its_task_with_the_connection() -> None:
    short = values("shared")
    assert short["worker_prefetch_multiplier"] == 4
    assert short["worker_cancel_long_running_tasks_on_connection_loss"] is True


def test_a_task_in_a_thread_which_nobody_can_stop_keeps_running_over_a_lost_connection() -> None:
    declared = context("shared")
    in_threads = replace(declared, worker=replace(declared.worker, pool=Pool.THREADS))
    settings = {each.name: each.value for each in worker_settings(in_threads)}
    assert settings["worker_cancel_long_running_tasks_on_connection_loss"] is False
    assert settings["worker_prefetch_multiplier"] == 4


def test_a_final_failure_is_rejected_and_a_lost_task_runs_again() -> None:
    settings = values()
    assert settings["task_acks_late"] is True
    assert settings["task_acks_on_failure"] is False
    assert settings["task_reject_on_worker_lost"] is True


def test_queues_are_quorum_queues_on_the_topic_exchange_that_nobody_here_declares() -> None:
    for queue in values()["task_queues"]:
        assert queue.queue_arguments == {"x-queue-type": "quorum"}
        assert queue.no_declare
        assert (queue.exchange.name, queue.exchange.type) == ("fleet.tasks", "topic")
        assert queue.exchange.no_declare
        assert queue.routing_key == queue.name


def test_an_unknown_queue_is_never_created() -> None:
    assert values()["task_create_missing_queues"] is False


def test_only_json_is_accepted() -> None:
    assert values()["accept_content"] == ["json"]


@pytest.mark.parametrize("kind", list(Kind))
def test_no_setting_holds_the_password(kind: Kind) -> None:
    assert "hunter2" not in repr(worker_settings(context(kind=kind)))


def test_every_node_of_the_broker_is_tried() -> None:
    nodes = (Node(host="mq1", port=5672), Node(host="::1", port=5671, tls=True))
    assert values(nodes=nodes)["broker_url"] == [
        "amqp://celery@mq1:5672/celery",
        "amqps://celery@[::1]:5671/celery",
    ]


def test_tls_verifies_the_certificate() -> None:
    import ssl

    tls = values(nodes=(Node(host="mq1", port=5671, tls=True),))["broker_use_ssl"]
    assert tls["cert_reqs"] == ssl.CERT_REQUIRED


def test_publishing_on_rabbitmq_is_confirmed() -> None:
    assert values()["broker_transport_options"]["confirm_publish"] is True


def test_a_cut_that_heartbeats_outlast_does_not_end_the_connection() -> None:
    settings = values()
    allowed_ms = settings["broker_transport_options"]["socket_settings"][TCP_USER_TIMEOUT]
    assert allowed_ms == 2 * 1000 * settings["broker_heartbeat"]


def test_redis_waits_longer_than_the_longest_task_before_it_hands_a_message_out_again() -> None:
    assert values(kind=Kind.REDIS)["broker_transport_options"]["visibility_timeout"] > 18_000


def test_a_visibility_timeout_below_the_longest_task_is_refused() -> None:
    with pytest.raises(UsageError, match="18000 s") as caught:
        worker_settings(context(kind=Kind.REDIS, visibility_timeout=18_000))
    assert caught.value.hint


def test_a_task_that_sends_another_is_routed_by_the_fleet_files_table() -> None:
    (route,) = values()["task_routes"]
    assert route("shop.invoice", (), {}, {}, task=None) == {"queue": "fleet.shop"}
    assert route("fleet.backup", (), {}, {}, task=None) == {"queue": "fleet.backup.alpha"}


def test_a_task_that_no_queue_takes_cannot_be_sent() -> None:
    (route,) = values()["task_routes"]
    with pytest.raises(UsageError, match="warehouse"):
        route("warehouse.count", (), {}, {}, task=None)
