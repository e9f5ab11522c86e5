"""Which alerts are there? One table; each alert has a runbook of its name in docs/runbooks."""

from fleet.metrics.metric import UNFINISHED_OUTCOMES
from fleet.metrics.recordings import (
    DECLARED_SINCE,
    ENTRY_LABELS,
    GRACE,
    JOB_LABELS,
    LAST_SUCCESS,
    MAX_AGE,
    MIN_WORKERS,
    NEXT_DUE,
    QUEUE_LABELS,
    READY_SINCE,
    bad_ratio,
)
from fleet.metrics.rule import Alert, Severity
from fleet.metrics.scrape import BROKER_JOB, WORKER_JOB

_COPIES = '{kind=~"backup|mirror"}'
_CHECKED = 'max by (fleet, job_name, host) (fleet_job_last_attempt_timestamp_seconds{kind="url_check"})'
_MAX_WAIT = f"max by ({QUEUE_LABELS}) (fleet_queue_max_wait_seconds)"
_BUDGET = f"max by ({QUEUE_LABELS}) (fleet_queue_error_budget_ratio)"
#: share of a dead-letter queue's limit
_NEARLY_FULL = 0.8
#: runs that a window must hold before its share of bad ones means anything
_MIN_RUNS = 20


def _burn(long: str, short: str, factor: float) -> str:
    """Two windows: the long one shows that it matters, the short one that it still goes on."""
    limit = f"on ({QUEUE_LABELS}) group_left () ({factor:g} * {_BUDGET})"
    ended = f'fleet_tasks_finished_total{{outcome!~"{"|".join(UNFINISHED_OUTCOMES)}"}}[{long}]'
    return (
        f"({bad_ratio(long)} > {limit})\nand\n({bad_ratio(short)} > {limit})\n"
        f"and\n(sum by (fleet, task, queue) (increase({ended})) > {_MIN_RUNS})"
    )


def _alarm(metric: str, resource: str) -> str:
    return f'label_replace({metric} > 0, "resource", "{resource}", "", "")'


QUEUE_ALERTS = (
    Alert(
        name="FleetQueueHasNoWorkers",
        # The broker knows best; where it does not tell, the workers' own view counts; else nobody is there.
        expr=f"{MIN_WORKERS}\n> on ({QUEUE_LABELS}) (\n"
        f"  max by ({QUEUE_LABELS}) (rabbitmq_detailed_queue_consumers)\n"
        f"  or sum by ({QUEUE_LABELS}) (fleet_worker_consuming)\n"
        f"  or {MIN_WORKERS} * 0\n)",
        for_seconds=300,
        severity=Severity.CRITICAL,
        summary="Queue {{ $labels.queue }} has no worker",
        description="Nothing consumes {{ $labels.queue }} (wanted: {{ $value }}); its tasks wait.",
    ),
    Alert(
        name="FleetQueueWaitTooLong",
        # Either messages have been ready all the time since the newest start, or what did start had waited.
        expr=f"(\n  time() - max by ({QUEUE_LABELS}) (\n    {READY_SINCE}\n"
        "    or (fleet_queue_newest_start_timestamp_seconds"
        f" and on ({QUEUE_LABELS}) {READY_SINCE})\n  ) > on ({QUEUE_LABELS}) {_MAX_WAIT}\n)\nor\n(\n"
        f"  histogram_quantile(0.5, sum by ({QUEUE_LABELS}, le)"
        " (rate(fleet_task_queue_wait_seconds_bucket[10m])))\n"
        f"  > on ({QUEUE_LABELS}) {_MAX_WAIT}\n  and on ({QUEUE_LABELS}) {READY_SINCE}\n)",
        for_seconds=60,
        severity=Severity.CRITICAL,
        summary="Tasks of {{ $labels.queue }} wait longer than they should",
        description="Messages wait in {{ $labels.queue }} for {{ $value | humanizeDuration }} by now.",
    ),
    Alert(
        name="FleetDeadLetterQueueNotEmpty",
        expr=f'max by ({QUEUE_LABELS}) (rabbitmq_detailed_queue_messages{{queue=~"fleet[.].+[.]dlq"}}) > 0',
        for_seconds=60,
        severity=Severity.WARNING,
        summary="{{ $labels.queue }} holds dead letters",
        description="{{ $value }} message(s) in {{ $labels.queue }} were given up and wait for a decision.",
    ),
    Alert(
        name="FleetDeadLetterQueueNearlyFull",
        expr=f"max by ({QUEUE_LABELS}) (rabbitmq_detailed_queue_messages)\n"
        f"> on ({QUEUE_LABELS}) {_NEARLY_FULL} * max by ({QUEUE_LABELS}) (fleet_queue_max_dead_letters)",
        for_seconds=60,
        severity=Severity.CRITICAL,
        summary="{{ $labels.queue }} is nearly full",
        description="{{ $value }} dead letters: beyond the limit, more stay in the queue that gave them up.",
    ),
    Alert(
        name="FleetMessagesUndeliverable",
        # Dead letters that wait for their queue's confirm are neither ready nor unacknowledged.
        expr=f"max by ({QUEUE_LABELS}) (\n  rabbitmq_detailed_queue_messages\n"
        "  - rabbitmq_detailed_queue_messages_ready\n  - rabbitmq_detailed_queue_messages_unacked\n) > 0",
        for_seconds=300,
        severity=Severity.CRITICAL,
        summary="Dead letters are stuck in {{ $labels.queue }}",
        description="{{ $value }} message(s) of {{ $labels.queue }} cannot reach their dead-letter queue.",
    ),
)

WORKER_ALERTS = (
    Alert(
        name="FleetWorkerDown",
        # Slot b is empty except during a rollout, so one slot that answers is enough.
        expr=f'max by (fleet, host, worker) (up{{job="{WORKER_JOB}"}}) == 0',
        for_seconds=300,
        severity=Severity.WARNING,
        summary="Worker {{ $labels.worker }} on {{ $labels.host }} does not answer",
        description="No instance of {{ $labels.worker }} on {{ $labels.host }} has answered for 5 minutes.",
    ),
    Alert(
        name="FleetTaskErrorBudgetBurn",
        expr=_burn("1h", "5m", 14.4),
        for_seconds=120,
        severity=Severity.CRITICAL,
        summary="{{ $labels.task }} on {{ $labels.queue }} fails much too often",
        description="{{ $value | humanizePercentage }} of the runs of the last hour ended badly.",
    ),
    Alert(
        name="FleetTaskErrorBudgetBurn",
        expr=_burn("6h", "30m", 6),
        for_seconds=900,
        severity=Severity.WARNING,
        summary="{{ $labels.task }} on {{ $labels.queue }} fails too often",
        description="{{ $value | humanizePercentage }} of the runs of the last 6 hours ended badly.",
    ),
)

JOB_ALERTS = (
    Alert(
        name="FleetBackupOverdue",
        expr=f"time() - {LAST_SUCCESS}{_COPIES}\n> on ({JOB_LABELS}) {MAX_AGE}",
        for_seconds=300,
        severity=Severity.CRITICAL,
        summary="Backup {{ $labels.job_name }} of {{ $labels.host }} is overdue",
        description="The last good {{ $labels.kind }} is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        name="FleetBackupNeverSucceeded",
        expr=f"time() - {DECLARED_SINCE}{_COPIES}\n> on ({JOB_LABELS}) {MAX_AGE}\n"
        f"unless on ({JOB_LABELS}) {LAST_SUCCESS}",
        for_seconds=300,
        severity=Severity.CRITICAL,
        summary="Backup {{ $labels.job_name }} of {{ $labels.host }} has never succeeded",
        description="It is declared for {{ $value | humanizeDuration }} and no run has ended well.",
    ),
    Alert(
        name="FleetScheduleMissed",
        # Late because beat is dead; given up by beat within the last hour; or no beat was ever seen.
        expr=f"(time() - {NEXT_DUE} > on ({ENTRY_LABELS}) {GRACE})\nor\n"
        f"(time() - max by ({ENTRY_LABELS}) (fleet_schedule_last_missed_timestamp_seconds) < 3600)\nor\n"
        f"({GRACE} unless on ({ENTRY_LABELS}) {NEXT_DUE})",
        for_seconds=60,
        severity=Severity.CRITICAL,
        summary="Schedule entry {{ $labels.entry }} was not sent in time",
        description="A run of {{ $labels.entry }} is later than its grace time, or no beat runs at all.",
    ),
)

URL_ALERTS = (
    Alert(
        name="FleetUrlDown",
        # Any host may run a check: the newest result counts, and only of URLs that are still declared.
        expr="max by (fleet, job_name, host) (fleet_url_up) == 0\n"
        f"and on (fleet, job_name, host) ({_CHECKED} == on (fleet, job_name) group_left ()"
        f" max by (fleet, job_name) ({_CHECKED}))\n"
        "and on (fleet, job_name) fleet_url_timeout_seconds",
        for_seconds=60,
        severity=Severity.WARNING,
        summary="URL {{ $labels.job_name }} does not answer as it should",
        description="The newest check of {{ $labels.job_name }}, from {{ $labels.host }}, failed.",
    ),
)

OUTBOX_ALERTS = (
    Alert(
        name="FleetOutboxNotForwarded",
        expr="max by (fleet, host, queue) (fleet_outbox_messages) > 0",
        for_seconds=900,
        severity=Severity.WARNING,
        summary="Tasks for {{ $labels.queue }} wait in the outbox of {{ $labels.host }}",
        description="{{ $value }} tasks were accepted there, and have not been at the broker for 15 minutes.",
    ),
)

BROKER_ALERTS = (
    Alert(
        name="FleetBrokerResourceAlarm",
        expr="\nor\n".join(
            (
                _alarm("rabbitmq_alarms_memory_used_watermark", "memory"),
                _alarm("rabbitmq_alarms_free_disk_space_watermark", "disk"),
                _alarm("rabbitmq_alarms_file_descriptor_limit", "file descriptors"),
            )
        ),
        severity=Severity.CRITICAL,
        summary="RabbitMQ {{ $labels.instance }} is out of {{ $labels.resource }}: nobody can publish",
        description="The alarm blocks every publisher of the whole cluster until it ends.",
    ),
    Alert(
        name="FleetBrokerDown",
        expr=f'up{{job="{BROKER_JOB}"}} == 0',
        for_seconds=120,
        severity=Severity.CRITICAL,
        summary="RabbitMQ {{ $labels.instance }} does not answer",
        description="Its metrics are missing for 2 minutes; alerts about queues are blind meanwhile.",
    ),
)
