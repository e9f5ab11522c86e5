import re
from dataclasses import replace
from typing import Any

import pytest

from fleet.metrics.scrape import TRANSIENT_QUEUES, ScrapePlan, scrape_file, target_file, targets
from fleet.model import Broker, Host, Kind, Node, Worker
from tests.unit.metrics.fleets import WALK

PLAN = ScrapePlan(targets_file="t.json", rules_file="r.yml")


def jobs(plan: ScrapePlan = PLAN, *, kind: Kind = Kind.RABBITMQ) -> dict[str, Any]:
    fleet = replace(WALK, broker=replace(WALK.broker, kind=kind))
    content: Any = scrape_file(fleet, plan)
    return {job["job_name"]: job for job in content["scrape_configs"]}


def test_both_slots_of_every_worker_on_every_host_are_targets() -> None:
    found = {(target.host, target.worker, target.slot): target.address for target in targets(WALK)}
    assert found == {
        ("alpha", "backup", "a"): "10.0.0.1:9540",
        ("alpha", "backup", "b"): "10.0.0.1:9640",
        ("alpha", "shared", "a"): "10.0.0.1:9541",
        ("alpha", "shared", "b"): "10.0.0.1:9641",
        ("beta", "backup", "a"): "beta.example.org:9540",
        ("beta", "backup", "b"): "beta.example.org:9640",
        ("beta", "shared", "a"): "beta.example.org:9541",
        ("beta", "shared", "b"): "beta.example.org:9641",
    }


def test_a_target_carries_fleet_host_worker_and_slot() -> None:
    first: Any = target_file(targets(WALK))[0]
    assert first == {
        "targets": ["10.0.0.1:9540"],
        "labels": {"fleet": "shop", "host": "alpha", "worker": "backup", "slot": "a"},
    }


def test_an_ipv6_address_is_written_in_brackets() -> None:
    fleet = replace(WALK, hosts=(Host(name="alpha", address="fd00::1"),))
    assert targets(fleet)[0].address == "[fd00::1]:9540"


def test_a_worker_without_a_metrics_port_is_no_target() -> None:
    fleet = replace(WALK, workers=(Worker(name="x", hosts=("*",), queues=("email",)),))
    assert targets(fleet) == ()


def test_a_limit_keeps_the_host_it_names() -> None:
    assert jobs()["fleet-worker"]["honor_labels"] is True


def test_every_broker_node_is_scraped_for_itself_and_for_the_vhosts_queues() -> None:
    found = jobs()
    assert found["fleet-rabbitmq"]["static_configs"] == [
        {"targets": ["mq1:15692", "mq2:15692"], "labels": {"fleet": "shop"}}
    ]
    assert found["fleet-rabbitmq-queues"]["params"] == {
        "family": ["queue_coarse_metrics", "queue_consumer_count"],
        "vhost": ["celery"],
    }


def test_broker_metrics_may_be_elsewhere() -> None:
    found = jobs(replace(PLAN, brokers=("metrics:1234",)))
    assert found["fleet-rabbitmq"]["static_configs"][0]["targets"] == ["metrics:1234"]


def test_a_beat_is_scraped_where_there_is_one() -> None:
    assert "fleet-beat" not in jobs()
    assert jobs(replace(PLAN, beats=("alpha:9550",)))["fleet-beat"]["static_configs"][0]["targets"] == [
        "alpha:9550"
    ]


def test_a_redis_broker_has_no_metrics_of_its_own() -> None:
    assert list(jobs(kind=Kind.REDIS)) == ["fleet-worker"]


def test_every_job_has_a_sample_limit() -> None:
    for job in jobs(replace(PLAN, beats=("b:1",))).values():
        assert job["sample_limit"] > 0


@pytest.mark.parametrize(
    ("queue", "transient"),
    [
        ("celeryev.3f2", True),
        ("w@alpha.celery.pidbox", True),
        ("9.reply.celery.pidbox", True),
        ("amq.gen-x", True),
        ("fleet.email", False),
        ("fleet.email.dlq", False),
    ],
)
def test_queues_that_come_and_go_are_dropped(queue: str, transient: bool) -> None:  # noqa: FBT001 - a case's column
    assert bool(re.fullmatch(TRANSIENT_QUEUES, queue)) is transient


def test_a_single_node_is_enough() -> None:
    fleet = replace(WALK, broker=Broker(nodes=(Node(host="mq", port=5672),)))
    content: Any = scrape_file(fleet, PLAN)
    assert content["scrape_configs"][1]["static_configs"][0]["targets"] == ["mq:15692"]
