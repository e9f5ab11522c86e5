import pytest

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import BAD_OUTCOMES, OUTCOMES, UNFINISHED_OUTCOMES, Metric, MetricType

METRICS = tuple(CATALOGUE.values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_follows_prometheus_naming(metric: Metric) -> None:
    assert metric.name.startswith("fleet_")
    assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
    assert metric.name.endswith("_seconds") == (metric.unit == "seconds")
    assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM)
    assert list(metric.buckets) == sorted(metric.buckets)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_label_is_one_of_the_bounded_ones(metric: Metric) -> None:
    bounded = {
        *("task", "queue", "outcome", "reason", "where", "kind", "job_name", "host", "entry"),
        *("version", "celery", "python", "pool"),
    }
    assert set(metric.labels) <= bounded


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_help_text_is_one_sentence_on_one_line(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert "\n" not in metric.help


def test_no_metric_stands_in_the_table_twice() -> None:
    from fleet.metrics import catalogue

    groups = (
        catalogue._TASKS,
        catalogue._WORKER,
        catalogue._LEDGER,
        catalogue._DECLARED,
        catalogue._SCHEDULE,
    )
    assert sum(len(group) for group in groups) == len(CATALOGUE)


def test_bad_and_unfinished_outcomes_are_outcomes_and_disjoint() -> None:
    assert set(BAD_OUTCOMES) | set(UNFINISHED_OUTCOMES) <= set(OUTCOMES)
    assert not set(BAD_OUTCOMES) & set(UNFINISHED_OUTCOMES)
