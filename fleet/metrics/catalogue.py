"""Which metrics does fleet export? The one table: code, rules and the reference page are made from it.

The label ``queue`` is always the queue's name in the broker (``fleet.email``, ``fleet.backup.alpha``),
so that fleet's series join with RabbitMQ's own without relabelling.
"""

from collections.abc import Mapping
from types import MappingProxyType

from fleet.metrics.metric import Group, Metric, gauge
from fleet.metrics.running import TASKS, WORKER

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

_OUTBOX = (
    gauge("fleet_outbox_messages", Group.OUTBOX, "queue host", "tasks", "Tasks that wait in the outbox."),
    gauge(
        "fleet_outbox_oldest_timestamp_seconds",
        Group.OUTBOX,
        "queue host",
        "seconds",
        "When the oldest task that waits in the outbox was first sent.",
    ),
    gauge("fleet_outbox_readable", Group.OUTBOX, "", "1 or 0", "1 when the host's outbox could be read."),
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

_TLS = (
    gauge(
        "fleet_tls_certificate_end_timestamp_seconds",
        Group.TLS,
        "kind",
        "seconds",
        "When the certificate that `broker.tls` names as `ca` or as the client's ends.",
    ),
)

#: every metric by name, in the order of the reference page
CATALOGUE: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (*TASKS, *WORKER, *_LEDGER, *_OUTBOX, *_DECLARED, *_SCHEDULE, *_TLS)}
)
