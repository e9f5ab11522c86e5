from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fleet.ledger import FILE_NAME, JobRecord, Ledger
from fleet.metrics.collectors import SampleCollector, register_declared, register_ledger, register_outbox
from fleet.metrics.samples import Sample
from fleet.outbox import Outbox
from fleet.publish import TaskMessage
from fleet.routes import broker_queues
from tests.unit.metrics.fleets import WALK

GOOD = JobRecord(kind="backup", name="etc", host="alpha", task_id="1", started=1.0, finished=9.0, ok=True)
LABELS = {"kind": "backup", "job_name": "etc", "host": "alpha"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_success_that_another_process_records_shows_at_the_next_scrape(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    register_ledger(registry, str(tmp_path), host="alpha")
    name = "fleet_job_last_success_timestamp_seconds"
    assert registry.get_sample_value(name, LABELS) is None
    Ledger.in_state_dir(str(tmp_path)).record(GOOD)
    assert registry.get_sample_value(name, LABELS) == 9
    assert registry.get_sample_value("fleet_ledger_readable") == 1


def test_a_ledger_that_cannot_be_read_is_said_and_costs_no_other_metric(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 100)
    register_declared(registry, WALK)
    register_ledger(registry, str(tmp_path), host="alpha")
    assert registry.get_sample_value("fleet_ledger_readable") == 0
    assert registry.get_sample_value("fleet_queue_min_workers", {"queue": "fleet.email"}) == 1


def test_what_waits_in_the_outbox_shows_at_the_next_scrape(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    fleet = replace(WALK, state_dir=str(tmp_path))
    register_outbox(registry, fleet, host="alpha")
    labels = {"queue": "fleet.email", "host": "alpha"}
    assert registry.get_sample_value("fleet_outbox_messages", labels) == 0
    assert list(tmp_path.iterdir()) == []
    email = next(queue for queue in broker_queues(fleet) if queue.name == "fleet.email")
    message = TaskMessage(task="fleet.send_mail", queue=email, task_id="1")
    Outbox.in_state_dir(str(tmp_path), fleet=fleet.name).keep([message, message], now=12.0)
    assert registry.get_sample_value("fleet_outbox_messages", labels) == 2
    assert registry.get_sample_value("fleet_outbox_oldest_timestamp_seconds", labels) == 12
    assert registry.get_sample_value("fleet_outbox_readable") == 1


def test_an_outbox_that_cannot_be_read_is_said_and_costs_no_other_metric(
    registry: CollectorRegistry, tmp_path: Path
) -> None:
    (tmp_path / "outbox").write_text("a file where a directory should be")
    register_declared(registry, WALK)
    register_outbox(registry, replace(WALK, state_dir=str(tmp_path)), host="alpha")
    assert registry.get_sample_value("fleet_outbox_readable") == 0
    assert registry.get_sample_value("fleet_queue_min_workers", {"queue": "fleet.email"}) == 1


def test_registering_a_collector_asks_nothing_yet(registry: CollectorRegistry) -> None:
    def source() -> list[Sample]:
        raise AssertionError("asked")

    registry.register(SampleCollector(source))
    with pytest.raises(AssertionError, match="asked"):
        generate_latest(registry)
