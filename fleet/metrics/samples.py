"""Which numbers follow from a state? Pure: a record in, samples of the catalogue's metrics out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet.metrics.state import EntryState, ScheduleState, WorkerState
from fleet.model import Fleet
from fleet.routes import broker_queues, dead_letter_queue_name

if TYPE_CHECKING:
    from fleet.ledger import JobRecord
    from fleet.outbox.record import Backlog

#: share of a queue's runs that may end badly before the error budget is spent
ERROR_BUDGET_RATIO = 0.01
#: workers that each queue needs at least
MIN_WORKERS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of one of the catalogue's metrics."""

    #: the catalogue's name
    metric: str
    #: values in the order of the catalogue's labels
    labels: tuple[str, ...] = ()
    value: float


def declared_samples(fleet: Fleet) -> tuple[Sample, ...]:
    """Return the limits that the fleet file declares, for the whole fleet.

    Every worker exports them all: the limits of a host that never came up must still be known.
    """
    return (
        *_declared_queues(fleet),
        *_declared_backups(fleet),
        *_declared_schedule(fleet),
        *_declared_urls(fleet),
    )


def _declared_queues(fleet: Fleet) -> Iterator[Sample]:
    for each in fleet.queues:
        dead_letters = (dead_letter_queue_name(each.name),)
        yield Sample(metric="fleet_queue_max_dead_letters", labels=dead_letters, value=each.max_dead_letters)
    for broker_queue in broker_queues(fleet):
        queue = fleet.queue(broker_queue.queue)
        assert queue is not None  # a broker queue is made from a declared one
        labels = (broker_queue.name,)
        yield Sample(metric="fleet_queue_min_workers", labels=labels, value=MIN_WORKERS)
        yield Sample(metric="fleet_queue_max_wait_seconds", labels=labels, value=queue.max_wait_seconds)
        yield Sample(metric="fleet_queue_error_budget_ratio", labels=labels, value=ERROR_BUDGET_RATIO)
        yield Sample(metric="fleet_task_max_runtime_seconds", labels=labels, value=queue.max_runtime_seconds)


def _declared_backups(fleet: Fleet) -> Iterator[Sample]:
    for backup in fleet.backups:
        # The ledger's word for a run that makes a snapshot is "backup".
        kind = "mirror" if backup.kind == "mirror" else "backup"
        for host in fleet.hosts_for(backup.hosts):
            yield Sample(
                metric="fleet_job_max_age_seconds",
                labels=(kind, backup.name, host.name),
                value=backup.max_age_seconds,
            )


def _declared_schedule(fleet: Fleet) -> Iterator[Sample]:
    for entry in fleet.schedule:
        yield Sample(metric="fleet_schedule_grace_seconds", labels=(entry.name,), value=entry.grace_seconds)


def _declared_urls(fleet: Fleet) -> Iterator[Sample]:
    for check in fleet.url_checks:
        yield Sample(metric="fleet_url_timeout_seconds", labels=(check.name,), value=check.timeout_seconds)


def ledger_samples(
    *, newest: Iterable["JobRecord"], newest_good: Iterable["JobRecord"], host: str
) -> tuple[Sample, ...]:
    """Return what ``host`` last tried, and what it last did well; records of other hosts are left out."""
    tried = [job for job in newest if job.host == host]
    good = [job for job in newest_good if job.host == host]
    return (*_attempts(tried), *_successes(good))


def _attempts(jobs: Iterable["JobRecord"]) -> Iterator[Sample]:
    for job in jobs:
        labels = (job.kind, job.name, job.host)
        yield Sample(metric="fleet_job_last_attempt_timestamp_seconds", labels=labels, value=job.finished)
        yield Sample(metric="fleet_job_last_attempt_ok", labels=labels, value=job.ok)
        duration = max(0.0, job.finished - job.started)
        yield Sample(metric="fleet_job_last_duration_seconds", labels=labels, value=duration)
        if job.kind == "url_check":
            yield Sample(metric="fleet_url_up", labels=(job.name, job.host), value=job.ok)


def _successes(jobs: Iterable["JobRecord"]) -> Iterator[Sample]:
    for job in jobs:
        labels = (job.kind, job.name, job.host)
        yield Sample(metric="fleet_job_last_success_timestamp_seconds", labels=labels, value=job.finished)
        if job.kind in ("backup", "mirror", "restore"):
            yield Sample(metric="fleet_job_last_files", labels=labels, value=job.files)
            yield Sample(metric="fleet_job_last_bytes", labels=labels, value=job.bytes)


def outbox_samples(backlog: "Backlog", *, queues: Iterable[str], host: str) -> Iterator[Sample]:
    """Return what waits in the outbox of ``host``, with zero for each of ``queues`` that has nothing."""
    waiting = {queue.queue: queue for queue in backlog.queues}
    for name in dict.fromkeys((*queues, *waiting)):
        labels, found = (name, host), waiting.get(name)
        yield Sample(metric="fleet_outbox_messages", labels=labels, value=found.messages if found else 0)
        if found:
            yield Sample(metric="fleet_outbox_oldest_timestamp_seconds", labels=labels, value=found.oldest)


def worker_samples(state: WorkerState) -> tuple[Sample, ...]:
    """Return what a worker tells about itself."""
    versions = state.versions
    return (
        Sample(
            metric="fleet_worker_info",
            labels=(versions.fleet, versions.celery, versions.python, versions.pool),
            value=1,
        ),
        Sample(metric="fleet_worker_start_timestamp_seconds", value=state.started),
        Sample(metric="fleet_worker_pool_size", value=state.pool_size),
        Sample(metric="fleet_worker_pool_busy", value=len(state.running)),
        Sample(metric="fleet_worker_reserved_tasks", value=state.reserved),
        Sample(metric="fleet_worker_prefetch_limit", value=state.prefetch_limit),
        Sample(metric="fleet_worker_broker_connected", value=state.connected),
        Sample(metric="fleet_worker_broker_reconnects_total", value=state.reconnects),
        Sample(metric="fleet_worker_child_exits_total", value=state.child_exits),
        Sample(metric="fleet_worker_draining", value=state.draining),
        *_loop_tick(state),
        *_consuming(state),
        *_oldest_running(state),
    )


def _loop_tick(state: WorkerState) -> Iterator[Sample]:
    if state.loop_tick is not None:
        yield Sample(metric="fleet_worker_loop_tick_timestamp_seconds", value=state.loop_tick)


def _consuming(state: WorkerState) -> Iterator[Sample]:
    for queue in dict.fromkeys((*state.queues, *state.consuming)):
        yield Sample(metric="fleet_worker_consuming", labels=(queue,), value=queue in state.consuming)


def _oldest_running(state: WorkerState) -> Iterator[Sample]:
    oldest: dict[tuple[str, str], float] = {}
    for run in state.running:
        labels = (run.task, run.queue)
        oldest[labels] = min(run.started, oldest.get(labels, run.started))
    for labels, started in oldest.items():
        yield Sample(metric="fleet_task_oldest_running_start_timestamp_seconds", labels=labels, value=started)


def schedule_samples(state: ScheduleState) -> tuple[Sample, ...]:
    """Return what beat tells about its entries."""
    return (
        Sample(metric="fleet_beat_active", value=state.active),
        *(sample for entry in state.entries for sample in _entry(entry)),
    )


def _entry(entry: EntryState) -> Iterator[Sample]:
    labels = (entry.name,)
    if entry.next_due is not None:
        yield Sample(metric="fleet_schedule_next_due_timestamp_seconds", labels=labels, value=entry.next_due)
    if entry.last_sent is not None:
        yield Sample(
            metric="fleet_schedule_last_sent_timestamp_seconds", labels=labels, value=entry.last_sent
        )
    missed = entry.last_missed or 0
    yield Sample(metric="fleet_schedule_last_missed_timestamp_seconds", labels=labels, value=missed)
