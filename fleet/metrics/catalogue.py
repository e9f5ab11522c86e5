"""Which metrics does fleet export? The one table: code, rules and the reference page are made from it.

The label ``queue`` is always the queue's name in the broker (``fleet.email``, ``fleet.backup.alpha``),
so that fleet's series join with RabbitMQ's own without relabelling.
"""

from collections.abc import Mapping
from types import MappingProxyType

from fleet.metrics.metric import (
    END_TO_END_BUCKETS,
    RUNTIME_BUCKETS,
    WAIT_BUCKETS,
    Group,
    Metric,
    counter,
    gauge,
    histogram,
)

_TASKS = (
    counter(
        "fleet_tasks_received_total",
        Group.TASKS,
        "task queue",
        "messages",
        "Messages taken from a queue, refused and unknown ones included.",
    ),
    counter(
        "fleet_tasks_redelivered_total",
        Group.TASKS,
        "task queue",
        "messages",
        "Messages that the broker had delivered before.",
    ),
    counter("fleet_tasks_started_total", Group.TASKS, "task queue", "runs", "Runs that began."),
    counter(
        "fleet_tasks_finished_total",
        Group.TASKS,
        "task queue outcome",
        "runs",
        "Runs that ended, by outcome; `retried` and `requeued` run again.",
    ),
    counter(
        "fleet_tasks_refused_total",
        Group.TASKS,
        "queue reason",
        "messages",
        "Messages that this queue may not carry; they are dead-lettered.",
    ),
    counter(
        "fleet_tasks_unknown_total",
        Group.TASKS,
        "queue",
        "messages",
        "Messages that name no known task or cannot be decoded; they are dead-lettered.",
    ),
    histogram(
        "fleet_task_queue_wait_seconds",
        Group.TASKS,
        "task queue",
        WAIT_BUCKETS,
        "Time from publish (or from the end of a wanted delay) to the start of the run.",
    ),
    histogram(
        "fleet_task_runtime_seconds",
        Group.TASKS,
        "task queue",
        RUNTIME_BUCKETS,
        "Time from the start of a run to its end, whatever the outcome.",
    ),
    histogram(
        "fleet_task_end_to_end_seconds",
        Group.TASKS,
        "task queue",
        END_TO_END_BUCKETS,
        "Time from the first publish to the final outcome, retries included.",
    ),
    gauge(
        "fleet_queue_newest_start_timestamp_seconds",
        Group.TASKS,
        "queue",
        "seconds",
        "When this worker last started a task of the queue.",
    ),
    counter(
        "fleet_metrics_errors_total",
        Group.TASKS,
        "where",
        "errors",
        "Errors while recording or collecting metrics; the work itself goes on.",
    ),
)

_WORKER = (
    gauge(
        "fleet_worker_info",
        Group.WORKER,
        "version celery python pool",
        "always 1",
        "Versions that this worker runs.",
    ),
    gauge(
        "fleet_worker_start_timestamp_seconds",
        Group.WORKER,
        "",
        "seconds",
        "When this worker's process began.",
    ),
    gauge("fleet_worker_pool_size", Group.WORKER, "", "slots", "Child processes or threads of the pool."),
    gauge("fleet_worker_pool_busy", Group.WORKER, "", "slots", "Tasks that run now."),
    gauge(
        "fleet_worker_reserved_tasks",
        Group.WORKER,
        "",
        "messages",
        "Messages that this worker holds and has not started.",
    ),
    gauge(
        "fleet_worker_prefetch_limit",
        Group.WORKER,
        "",
        "messages",
        "Unacknowledged messages that the broker may give to this worker; 0 means no limit.",
    ),
    gauge(
        "fleet_worker_consuming",
        Group.WORKER,
        "queue",
        "1 or 0",
        "1 while the broker delivers this queue to this worker.",
    ),
    gauge(
        "fleet_worker_broker_connected", Group.WORKER, "", "1 or 0", "1 while the broker connection is open."
    ),
    counter(
        "fleet_worker_broker_reconnects_total",
        Group.WORKER,
        "",
        "connections",
        "Broker connections opened after the first.",
    ),
    gauge(
        "fleet_worker_loop_tick_timestamp_seconds",
        Group.WORKER,
        "",
        "seconds",
        "When the worker's event loop last turned.",
    ),
    counter(
        "fleet_worker_child_exits_total",
        Group.WORKER,
        "",
        "processes",
        "Pool children that ended without being asked to.",
    ),
    gauge(
        "fleet_worker_draining",
        Group.WORKER,
        "",
        "1 or 0",
        "1 while the worker finishes what it has and takes nothing new.",
    ),
    gauge(
        "fleet_task_oldest_running_start_timestamp_seconds",
        Group.WORKER,
        "task queue",
        "seconds",
        "When the oldest run that still goes on began.",
    ),
)

_JOB = "kind job_name host"
_LEDGER = (
    gauge(
        "fleet_job_last_success_timestamp_seconds",
        Group.LEDGER,
        _JOB,
        "seconds",
        "When the job last ended well.",
    ),
    gauge(
        "fleet_job_last_attempt_timestamp_seconds",
        Group.LEDGER,
        _JOB,
        "seconds",
        "When the job last ended, well or not.",
    ),
    gauge(
        "fleet_job_last_attempt_ok", Group.LEDGER, _JOB, "1 or 0", "1 when the job's last attempt ended well."
    ),
    gauge(
        "fleet_job_last_duration_seconds",
        Group.LEDGER,
        _JOB,
        "seconds",
        "How long the job's last attempt took.",
    ),
    gauge(
        "fleet_job_last_files", Group.LEDGER, _JOB, "files", "Files in the copy that the last success made."
    ),
    gauge(
        "fleet_job_last_bytes", Group.LEDGER, _JOB, "bytes", "Size of the copy that the last success made."
    ),
    gauge(
        "fleet_url_up", Group.LEDGER, "job_name host", "1 or 0", "1 when the URL last answered as expected."
    ),
    gauge("fleet_ledger_readable", Group.LEDGER, "", "1 or 0", "1 when the host's ledger could be read."),
)

_DECLARED = (
    gauge(
        "fleet_job_max_age_seconds",
        Group.DECLARED,
        _JOB,
        "seconds",
        "How old a job's last success may be (`backups.NAME.max_age`).",
    ),
    gauge(
        "fleet_queue_max_wait_seconds",
        Group.DECLARED,
        "queue",
        "seconds",
        "How long a task may wait for its start (`queues.NAME.max_wait`).",
    ),
    gauge(
        "fleet_queue_min_workers", Group.DECLARED, "queue", "workers", "Workers that must consume the queue."
    ),
    gauge(
        "fleet_queue_max_dead_letters",
        Group.DECLARED,
        "queue",
        "messages",
        "How many messages a dead-letter queue may hold (`queues.NAME.max_dead_letters`).",
    ),
    gauge(
        "fleet_queue_error_budget_ratio",
        Group.DECLARED,
        "queue",
        "ratio",
        "Share of the queue's runs that may end badly.",
    ),
    gauge(
        "fleet_task_max_runtime_seconds",
        Group.DECLARED,
        "queue",
        "seconds",
        "Longest run that is expected of a task of the queue (`queues.NAME.max_runtime`).",
    ),
    gauge(
        "fleet_schedule_grace_seconds",
        Group.DECLARED,
        "entry",
        "seconds",
        "How late a scheduled run may be (`schedule.NAME.grace`).",
    ),
    gauge(
        "fleet_url_timeout_seconds",
        Group.DECLARED,
        "job_name",
        "seconds",
        "How long a URL may take to answer (`urls.NAME.timeout`).",
    ),
)

_SCHEDULE = (
    gauge(
        "fleet_schedule_next_due_timestamp_seconds",
        Group.SCHEDULE,
        "entry",
        "seconds",
        "When the entry is due next; in the past while it is late.",
    ),
    gauge(
        "fleet_schedule_last_sent_timestamp_seconds",
        Group.SCHEDULE,
        "entry",
        "seconds",
        "When the entry's message was last confirmed by the broker.",
    ),
    gauge(
        "fleet_schedule_last_missed_timestamp_seconds",
        Group.SCHEDULE,
        "entry",
        "seconds",
        "When a run of the entry was last given up as too late; 0 while none was.",
    ),
    gauge("fleet_beat_active", Group.SCHEDULE, "", "1 or 0", "1 while this beat holds the lease and sends."),
)

#: every metric by name, in the order of the reference page
CATALOGUE: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (*_TASKS, *_WORKER, *_LEDGER, *_DECLARED, *_SCHEDULE)}
)
