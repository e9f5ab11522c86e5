from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.metric import BAD_OUTCOMES, OUTCOMES, UNFINISHED_OUTCOMES, MetricType

METRICS = tuple(CATALOGUE.values())


def test_every_metric_follows_prometheus_naming() -> None:
    for metric in METRICS:
        assert metric.name.startswith("fleet_"), metric
        assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER), metric
        assert metric.name.endswith("_seconds") == (metric.unit == "seconds"), metric
        assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM), metric
        assert list(metric.buckets) == sorted(metric.buckets), metric


def test_every_label_is_one_of_the_bounded_ones() -> None:
    bounded = {
        *("task", "queue", "outcome", "reason", "where", "kind", "job_name", "host", "entry"),
        *("version", "celery", "python", "pool"),
    }
    assert {label for metric in METRICS for label in metric.labels} <= bounded


def test_every_help_text_is_a_sentence_on_one_line() -> None:
    for metric in METRICS:
        assert metric.help.endswith("."), metric
        assert "\n" not in metric.help, metric


def test_no_metric_stands_in_the_table_twice() -> None:
    from fleet.metrics import catalogue, running

    groups = (
        running.TASKS,
        running.WORKER,
        catalogue._LEDGER,
        catalogue._OUTBOX,
        catalogue._DECLARED,
        catalogue._SCHEDULE,
        catalogue._TLS,
    )
    assert sum(len(group) for group in groups) == len(CATALOGUE)


def test_bad_and_unfinished_outcomes_are_outcomes_and_disjoint() -> None:
    assert set(BAD_OUTCOMES) | set(UNFINISHED_OUTCOMES) <= set(OUTCOMES)
    assert not set(BAD_OUTCOMES) & set(UNFINISHED_OUTCOMES)
