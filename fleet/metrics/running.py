"""Which metrics tell how a worker and its tasks run? A part of the catalogue."""

from fleet.metrics.metric import (
    END_TO_END_BUCKETS,
    RUNTIME_BUCKETS,
    WAIT_BUCKETS,
    Group,
    counter,
    gauge,
    histogram,
)

TASKS = (
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

WORKER = (
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
