import re
from typing import Any

import pytest
import yaml

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import MetricType
from fleet.metrics.rule import Alert, duration, rule_file, series_in
from fleet.metrics.rules import GROUPS, alerts, recordings, series_named_by_rules
from fleet.metrics.yaml import render

#: series that come from Prometheus itself and from RabbitMQ 3.10's exporter
FOREIGN = {
    "up",
    "rabbitmq_alarms_memory_used_watermark",
    "rabbitmq_alarms_free_disk_space_watermark",
    "rabbitmq_alarms_file_descriptor_limit",
    "rabbitmq_detailed_queue_messages",
    "rabbitmq_detailed_queue_messages_ready",
    "rabbitmq_detailed_queue_messages_unacked",
    "rabbitmq_detailed_queue_consumers",
}
FILE: Any = yaml.safe_load(render(rule_file(GROUPS)))


def exported() -> set[str]:
    """Return the names of the samples that the catalogue's metrics make."""
    plain = {name for name, metric in CATALOGUE.items() if metric.type is not MetricType.HISTOGRAM}
    histograms = set(CATALOGUE) - plain
    return plain | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def test_every_series_that_a_rule_names_is_exported_by_fleet_or_by_the_broker() -> None:
    assert series_named_by_rules() <= exported() | FOREIGN


def test_every_foreign_series_is_still_needed() -> None:
    assert series_named_by_rules() >= FOREIGN


def test_every_recorded_series_is_used() -> None:
    used = {name for group in GROUPS for rule in group.rules for name in series_in(rule.expr)}
    assert {recording.record for recording in recordings()} <= used


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.record)
def test_a_recorded_series_is_named_level_metric_operation(recording: Any) -> None:
    assert re.fullmatch(r"[a-z_]+:fleet_[a-z_]+:[a-z_0-9]+", recording.record)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_an_alert_says_which_object_is_meant(alert: Alert) -> None:
    assert alert.name.startswith("Fleet")
    assert "{{ $labels." in alert.summary
    assert "$value" not in alert.summary


def test_every_alert_links_to_its_runbook() -> None:
    rules = [rule for group in FILE["groups"] for rule in group["rules"] if "alert" in rule]
    assert [rule["annotations"]["runbook_url"] for rule in rules] == [
        f"docs/runbooks/{alert.name}.md" for alert in alerts()
    ]


def test_runbooks_may_live_elsewhere() -> None:
    text = render(rule_file(GROUPS, runbook_url="https://wiki.example.org/{alert}?x={y}"))
    assert 'runbook_url: "https://wiki.example.org/FleetWorkerDown?x={y}"' in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (30, "30s"), (90, "90s"), (300, "5m"), (7200, "2h"), (86_400, "1d")]
)
def test_a_duration_is_written_in_its_largest_unit(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("expr", "series"),
    [
        ('sum by (a, b) (rate(x_total{a="up"}[5m])) > 3', {"x_total"}),
        ("a - on (queue) group_left (host) b:c:d * 0 + time()", {"a", "b:c:d"}),
        ('label_replace(a > 0, "up", "b", "", "") or c unless on (d) e', {"a", "c", "e"}),
        ("last_over_time(a[1h]) and bool", {"a"}),
        ("14.4 * max by (x) (a) > 1e3", {"a"}),
    ],
)
def test_the_series_of_an_expression_are_found_without_labels_and_functions(
    expr: str, series: set[str]
) -> None:
    assert series_in(expr) == series
