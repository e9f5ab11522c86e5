"""What is a metric, and which words may stand in its labels?"""

from dataclasses import dataclass
from enum import StrEnum


class MetricType(StrEnum):
    """Prometheus's types that fleet uses."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Group(StrEnum):
    """Who exports a metric."""

    TASKS = "Tasks (worker's main process)"
    WORKER = "Worker state (worker's main process, read at each scrape)"
    LEDGER = "Jobs (host's ledger, by every worker of the host; survives restarts)"
    OUTBOX = "Outbox (host's usual outbox, by every worker of the host)"
    DECLARED = "Declared limits (fleet file, by every worker and by beat)"
    SCHEDULE = "Schedule (beat)"
    TLS = "Certificates (files of the host, by workers and beat, with TLS only)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric as Prometheus names it."""

    #: full name, with ``_total`` on counters
    name: str
    type: MetricType
    group: Group
    #: one line, as it stands in the exposition
    help: str
    labels: tuple[str, ...] = ()
    #: base unit: seconds, bytes, a ratio, or what is counted
    unit: str
    #: upper bounds of a histogram's buckets, without +Inf
    buckets: tuple[float, ...] = ()


#: ways in which a run of a task ends; other words are counted as ``other``
OUTCOMES = (
    "succeeded",
    "failed",
    "retried",
    "retries_exhausted",
    "timed_out",
    "lost",
    "rejected",
    "requeued",
    "ignored",
    "revoked",
    "expired",
)
#: outcomes after which the message runs again, so that they are no end yet
UNFINISHED_OUTCOMES = ("retried", "requeued")
#: outcomes that spend a queue's error budget
BAD_OUTCOMES = ("failed", "retries_exhausted", "timed_out", "lost", "rejected", "expired")
#: takes the place of a label value that is not known or would be one too many
OTHER = "other"

WAIT_BUCKETS = (0.05, 0.25, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400)
RUNTIME_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800)
END_TO_END_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 172_800)


def counter(name: str, group: Group, labels: str, unit: str, text: str) -> Metric:
    """Describe a counter; ``labels`` are separated by spaces."""
    labelled = tuple(labels.split())
    return Metric(name=name, type=MetricType.COUNTER, group=group, labels=labelled, unit=unit, help=text)


def gauge(name: str, group: Group, labels: str, unit: str, text: str) -> Metric:
    """Describe a gauge; ``labels`` are separated by spaces."""
    labelled = tuple(labels.split())
    return Metric(name=name, type=MetricType.GAUGE, group=group, labels=labelled, unit=unit, help=text)


def histogram(name: str, group: Group, labels: str, buckets: tuple[float, ...], text: str) -> Metric:
    """Describe a histogram of seconds; ``labels`` are separated by spaces."""
    return Metric(
        name=name,
        type=MetricType.HISTOGRAM,
        group=group,
        labels=tuple(labels.split()),
        unit="seconds",
        help=text,
        buckets=buckets,
    )
