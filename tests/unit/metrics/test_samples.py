from dataclasses import replace

import pytest

from fleet.ledger import JobKind, JobRecord
from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.samples import (
    Sample,
    declared_samples,
    ledger_samples,
    schedule_samples,
    worker_samples,
)
from fleet.metrics.state import EntryState, RunningTask, ScheduleState, Versions, WorkerState
from tests.unit.metrics.fleets import WALK

WORKER = WorkerState(
    versions=Versions(fleet="0.1", celery="5.7", python="3.11", pool="prefork"),
    started=100.0,
    pool_size=2,
    running=(
        RunningTask(task="fleet.send_mail", queue="fleet.email", started=300.0),
        RunningTask(task="fleet.send_mail", queue="fleet.email", started=200.0),
    ),
    reserved=3,
    prefetch_limit=8,
    queues=("fleet.email", "fleet.default"),
    consuming=("fleet.email",),
    connected=True,
    reconnects=1,
    loop_tick=400.0,
    child_exits=0,
    draining=False,
)


def job(
    kind: JobKind = "backup", *, ok: bool = True, host: str = "alpha", finished: float = 50.0
) -> JobRecord:
    return JobRecord(
        kind=kind,
        name="etc",
        host=host,
        task_id="1",
        started=40.0,
        finished=finished,
        ok=ok,
        files=7,
        bytes=70,
    )


def values(samples: tuple[Sample, ...]) -> dict[tuple[str, ...], float]:
    return {(sample.metric, *sample.labels): sample.value for sample in samples}


@pytest.mark.parametrize(
    "samples",
    [
        declared_samples(WALK),
        ledger_samples(newest=[job(), job("url_check")], newest_good=[job()], host="alpha"),
        worker_samples(WORKER),
        schedule_samples(
            ScheduleState(active=True, entries=(EntryState(name="nightly", next_due=1.0, last_sent=1.0),))
        ),
    ],
    ids=["declared", "ledger", "worker", "schedule"],
)
def test_every_sample_is_of_the_catalogue_and_has_its_labels(samples: tuple[Sample, ...]) -> None:
    assert samples
    for sample in samples:
        assert len(sample.labels) == len(CATALOGUE[sample.metric].labels)


def test_the_limits_of_every_host_are_declared_everywhere() -> None:
    found = values(declared_samples(WALK))
    assert found["fleet_queue_min_workers", "fleet.backup.alpha"] == 1
    assert found["fleet_queue_min_workers", "fleet.backup.beta"] == 1
    assert found["fleet_queue_max_wait_seconds", "fleet.backup.beta"] == 7200
    assert found["fleet_task_max_runtime_seconds", "fleet.email"] == 120
    assert found["fleet_job_max_age_seconds", "backup", "etc", "beta"] == 3600
    assert found["fleet_schedule_grace_seconds", "nightly"] == 300
    assert found["fleet_url_timeout_seconds", "shop"] == 7


def test_a_limit_carries_the_ledgers_word_for_its_kind() -> None:
    found = values(declared_samples(WALK))
    assert ("fleet_job_max_age_seconds", "mirror", "www", "beta") in found
    assert ("fleet_job_max_age_seconds", "backup", "www", "beta") not in found


def test_a_failed_attempt_leaves_the_last_success_as_it_was() -> None:
    found = values(
        ledger_samples(newest=[job(ok=False, finished=60.0)], newest_good=[job(finished=50.0)], host="alpha")
    )
    assert found["fleet_job_last_success_timestamp_seconds", "backup", "etc", "alpha"] == 50
    assert found["fleet_job_last_attempt_timestamp_seconds", "backup", "etc", "alpha"] == 60
    assert found["fleet_job_last_attempt_ok", "backup", "etc", "alpha"] == 0
    assert found["fleet_job_last_duration_seconds", "backup", "etc", "alpha"] == 20


def test_records_of_another_host_are_that_hosts_to_export() -> None:
    assert ledger_samples(newest=[job(host="beta")], newest_good=[job(host="beta")], host="alpha") == ()


def test_a_url_check_says_whether_the_url_is_up_and_has_no_size() -> None:
    found = values(
        ledger_samples(
            newest=[job("url_check", ok=False)], newest_good=[job("url_check", finished=1.0)], host="alpha"
        )
    )
    assert found["fleet_url_up", "etc", "alpha"] == 0
    assert not [key for key in found if key[0] == "fleet_job_last_files"]


def test_a_queue_that_should_be_consumed_and_is_not_shows_as_zero() -> None:
    found = values(worker_samples(WORKER))
    assert found["fleet_worker_consuming", "fleet.email"] == 1
    assert found["fleet_worker_consuming", "fleet.default"] == 0


def test_the_oldest_of_several_runs_is_exported() -> None:
    found = values(worker_samples(WORKER))
    key = ("fleet_task_oldest_running_start_timestamp_seconds", "fleet.send_mail", "fleet.email")
    assert found[key] == 200
    assert found["fleet_worker_pool_busy",] == 2


def test_a_pool_without_a_loop_has_no_tick() -> None:
    samples = worker_samples(replace(WORKER, loop_tick=None))
    assert ("fleet_worker_loop_tick_timestamp_seconds",) not in values(samples)


def test_an_entry_that_was_never_sent_has_no_last_time() -> None:
    state = ScheduleState(active=False, entries=(EntryState(name="x", next_due=9.0, last_sent=None),))
    assert values(schedule_samples(state)) == {
        ("fleet_beat_active",): 0,
        ("fleet_schedule_last_missed_timestamp_seconds", "x"): 0,
        ("fleet_schedule_next_due_timestamp_seconds", "x"): 9,
    }
