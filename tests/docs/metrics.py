"""docs/reference/metrics.md and alerts.md, from the tables that the code itself uses."""

from collections.abc import Iterable

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import BAD_OUTCOMES, OUTCOMES, UNFINISHED_OUTCOMES, Group, Metric
from fleet.metrics.rule import duration
from fleet.metrics.rules import alerts, recordings, series_named_by_rules

METRICS_HEAD = """\
# Metrics

Generated from the catalogue by `make docs`. A worker serves them at `/metrics` on its `metrics_port`, beside
`/healthz` (is the process sound?) and `/readyz` (does it consume its queues?). How to scrape them:
[monitor with Prometheus](../how-to/monitor-with-prometheus.md); which alerts follow: [alerts](alerts.md).

- The label `queue` is the queue's name in the broker (`fleet.email`, `fleet.backup.alpha`), as in RabbitMQ's
  own metrics, so that both join without relabelling.
- No label carries a task id, an argument, an address or an error's text. At most 200 task names, 100 queues
  and 20 reasons get series of their own; what comes later is counted as `other`.
- Times are seconds since the epoch (`…_timestamp_seconds`), never ages: `time() - …` is the age.
- The process's own `process_…` metrics (memory, CPU, open files) are those of every Prometheus client.

"""
ALERTS_HEAD = """\
# Alerts

Generated from the rules by `make docs`; `fleet prometheus rules` writes them for Prometheus. Limits are
metrics that every worker exports from the fleet file, so the rules are the same for every fleet. `critical`
wakes somebody, `warning` can wait for the morning.

| alert | severity | must hold for | says |
|---|---|---|---|
"""


def metrics_page() -> str:
    parts = [METRICS_HEAD]
    for group in Group:
        parts.append(f"## {group}\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n")
        parts.extend(_row(metric) for metric in CATALOGUE.values() if metric.group is group)
        parts.append("\n")
    parts.append("## Outcomes\n\nThe label `outcome` of `fleet_tasks_finished_total`:\n")
    parts.append(f"{_words(OUTCOMES)}.\nNot an end, because the message runs again: ")
    parts.append(f"{_words(UNFINISHED_OUTCOMES)}. Spending the error budget:\n{_words(BAD_OUTCOMES)}.\n\n")
    parts.append("## Buckets\n\nUpper bounds of the histograms, in seconds, without `+Inf`.\n\n")
    parts.extend(_buckets(metric) for metric in CATALOGUE.values() if metric.buckets)
    return "".join(parts)


def alerts_page() -> str:
    rows = [
        f"| [{alert.name}](../runbooks/{alert.name}.md) | {alert.severity} | {_held(alert.for_seconds)} "
        f"| {_plain(alert.summary)} |\n"
        for alert in alerts()
    ]
    recorded = [f"- `{recording.record}`\n" for recording in recordings()]
    foreign = sorted(name for name in series_named_by_rules() if not name.startswith("fleet_"))
    return (
        ALERTS_HEAD
        + "".join(rows)
        + "\n## Recorded series\n\n"
        + "".join(recorded)
        + "\n## What the rules need from others\n\nPrometheus's own `up`, and RabbitMQ's exporter:\n"
        + f"{_words(name for name in foreign if name != 'up')}.\n"
    )


def _row(metric: Metric) -> str:
    labels = _words(metric.labels) or "none"
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.unit} | {metric.help} |\n"


def _buckets(metric: Metric) -> str:
    return f"- `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)}\n"


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _plain(summary: str) -> str:
    """Return a summary with its labels as ``<queue>``."""
    return summary.replace("{{ $labels.", "&lt;").replace(" }}", "&gt;")


def _held(seconds: int) -> str:
    return duration(seconds) if seconds else "at once"
