"""Which series does Prometheus compute for the alerts, and what must it remember?

Limits come from metrics, so that one rule file serves every fleet. Every worker exports the same limits,
hence ``max by``. A series ends with the process that exported it, so what an alert must still know then (a
backup's last success, a queue that must be consumed) is remembered by a rule that reads its own last value.
"""

from fleet.metrics.metric import BAD_OUTCOMES, UNFINISHED_OUTCOMES
from fleet.metrics.rule import Recording
from fleet.metrics.scrape import WORKER_JOB

JOB_LABELS = "fleet, kind, job_name, host"
QUEUE_LABELS = "fleet, queue"
ENTRY_LABELS = "fleet, entry"

MIN_WORKERS = "queue:fleet_queue_min_workers:declared"
MAX_AGE = "job:fleet_job_max_age_seconds:declared"
GRACE = "entry:fleet_schedule_grace_seconds:declared"
DECLARED_SINCE = "job:fleet_job_declared_timestamp_seconds:first"
LAST_SUCCESS = "job:fleet_job_last_success_timestamp_seconds:last"
NEXT_DUE = "entry:fleet_schedule_next_due_timestamp_seconds:last"
READY_SINCE = "queue:fleet_queue_ready_timestamp_seconds:first"

_READY = f"max by ({QUEUE_LABELS}) (rabbitmq_detailed_queue_messages_ready) > 0"


def bad_ratio(window: str) -> str:
    """Return the name of the series with the share of runs that ended badly during ``window``."""
    return f"task_queue:fleet_tasks_bad:ratio_rate{window}"


def _declared(record: str, metric: str, labels: str) -> Recording:
    """Remember a limit while nobody exports any although the fleet is still a target: all of it is down."""
    return Recording(
        record=record,
        expr=f"max by ({labels}) ({metric})\nor\n(\n  last_over_time({record}[1h])\n"
        f'  and on (fleet) up{{job="{WORKER_JOB}"}}\n  unless on (fleet) {metric}\n)',
    )


def _last(record: str, now: str) -> Recording:
    return Recording(record=record, expr=f"{now}\nor\nlast_over_time({record}[1h])")


def _bad_ratio(window: str) -> Recording:
    bad, unfinished = "|".join(BAD_OUTCOMES), "|".join(UNFINISHED_OUTCOMES)
    by = "sum by (fleet, task, queue)"
    return Recording(
        record=bad_ratio(window),
        expr=f'{by} (rate(fleet_tasks_finished_total{{outcome=~"{bad}"}}[{window}]))\n'
        f'/\n{by} (rate(fleet_tasks_finished_total{{outcome!~"{unfinished}"}}[{window}]))',
    )


RECORDINGS = (
    _declared(MIN_WORKERS, "fleet_queue_min_workers", QUEUE_LABELS),
    _declared(MAX_AGE, "fleet_job_max_age_seconds", JOB_LABELS),
    _declared(GRACE, "fleet_schedule_grace_seconds", ENTRY_LABELS),
    Recording(
        record=DECLARED_SINCE,
        expr=f"(last_over_time({DECLARED_SINCE}[1h]) and on ({JOB_LABELS}) {MAX_AGE})\n"
        f"or\n({MAX_AGE} * 0 + time())",
    ),
    _last(LAST_SUCCESS, f"max by ({JOB_LABELS}) (fleet_job_last_success_timestamp_seconds)"),
    # Only the beat that holds the lease knows what is due; another one may wait beside it.
    _last(
        NEXT_DUE,
        f"max by ({ENTRY_LABELS}) (\n  fleet_schedule_next_due_timestamp_seconds"
        " and on (fleet, instance) (fleet_beat_active == 1)\n)",
    ),
    # No range here: the series must be forgotten as soon as the queue is empty once.
    Recording(
        record=READY_SINCE,
        expr=f"({READY_SINCE} and on ({QUEUE_LABELS}) ({_READY}))\nor\n(({_READY}) * 0 + time())",
    ),
    *(_bad_ratio(window) for window in ("5m", "30m", "1h", "6h")),
)
