from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from fleet.metrics.metric import OUTCOMES
from fleet.metrics.tasks import MAX_QUEUES, MAX_REASONS, MAX_TASKS, TaskMetrics

EMAIL = {"task": "fleet.send_mail", "queue": "fleet.email"}


class Recorder:
    """TaskMetrics on a registry of its own, with a stopped clock."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tasks = TaskMetrics(self.registry, clock=lambda: 1000.0)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def series(self, name: str) -> int:
        return sum(sample.name == name for family in self.registry.collect() for sample in family.samples)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_a_received_message_is_counted_and_a_redelivered_one_twice_over(recorder: Recorder) -> None:
    recorder.tasks.received(**EMAIL, redelivered=False)
    recorder.tasks.received(**EMAIL, redelivered=True)
    assert recorder.value("fleet_tasks_received_total", **EMAIL) == 2
    assert recorder.value("fleet_tasks_redelivered_total", **EMAIL) == 1


def test_a_start_is_counted_with_its_wait_and_its_time(recorder: Recorder) -> None:
    recorder.tasks.started(**EMAIL, wait_seconds=2.5)
    assert recorder.value("fleet_tasks_started_total", **EMAIL) == 1
    assert recorder.value("fleet_task_queue_wait_seconds_sum", **EMAIL) == 2.5
    assert recorder.value("fleet_queue_newest_start_timestamp_seconds", queue="fleet.email") == 1000


def test_a_wait_below_zero_is_a_clock_that_is_behind_and_counts_as_zero(recorder: Recorder) -> None:
    recorder.tasks.started(**EMAIL, wait_seconds=-3)
    assert recorder.value("fleet_task_queue_wait_seconds_sum", **EMAIL) == 0
    assert recorder.value("fleet_task_queue_wait_seconds_count", **EMAIL) == 1


def test_a_message_without_a_stamp_has_no_wait(recorder: Recorder) -> None:
    recorder.tasks.started(**EMAIL, wait_seconds=None)
    assert recorder.value("fleet_task_queue_wait_seconds_count", **EMAIL) == 0


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_is_counted_under_its_own_name(recorder: Recorder, outcome: str) -> None:
    recorder.tasks.finished(**EMAIL, outcome=outcome, runtime_seconds=1, end_to_end_seconds=None)
    assert recorder.value("fleet_tasks_finished_total", **EMAIL, outcome=outcome) == 1


def test_an_outcome_of_another_vocabulary_is_counted_as_other(recorder: Recorder) -> None:
    recorder.tasks.finished(**EMAIL, outcome="a sentence", runtime_seconds=1, end_to_end_seconds=None)
    assert recorder.value("fleet_tasks_finished_total", **EMAIL, outcome="other") == 1
    assert recorder.series("fleet_tasks_finished_total") == len(OUTCOMES) + 1


@pytest.mark.parametrize(("outcome", "counted"), [("succeeded", 1), ("retried", 0), ("requeued", 0)])
def test_the_way_from_publish_to_end_is_measured_only_at_the_end(
    recorder: Recorder, outcome: str, counted: int
) -> None:
    recorder.tasks.finished(**EMAIL, outcome=outcome, runtime_seconds=1, end_to_end_seconds=9)
    assert recorder.value("fleet_task_end_to_end_seconds_count", **EMAIL) == counted
    assert recorder.value("fleet_task_runtime_seconds_count", **EMAIL) == 1


def test_a_prepared_task_shows_every_outcome_at_zero(recorder: Recorder) -> None:
    recorder.tasks.prepare(**EMAIL)
    assert recorder.value("fleet_tasks_finished_total", **EMAIL, outcome="failed") == 0
    assert recorder.value("fleet_tasks_started_total", **EMAIL) == 0


def test_task_names_beyond_the_limit_share_one_series(recorder: Recorder) -> None:
    for number in range(MAX_TASKS + 50):
        recorder.tasks.received(f"t{number}", "fleet.email", redelivered=False)
    assert recorder.series("fleet_tasks_received_total") == MAX_TASKS + 1
    assert recorder.value("fleet_tasks_received_total", task="other", queue="fleet.email") == 50


def test_queues_beyond_the_limit_share_one_series(recorder: Recorder) -> None:
    for number in range(MAX_QUEUES + 5):
        recorder.tasks.unknown(f"q{number}")
    assert recorder.series("fleet_tasks_unknown_total") == MAX_QUEUES + 1
    assert recorder.value("fleet_tasks_unknown_total", queue="other") == 5


def test_reasons_beyond_the_limit_share_one_series(recorder: Recorder) -> None:
    for number in range(MAX_REASONS + 5):
        recorder.tasks.refused("fleet.email", f"reason {number}")
    assert recorder.series("fleet_tasks_refused_total") == MAX_REASONS + 1


@pytest.mark.parametrize(
    ("hook", "broken"),
    [
        ("received", lambda tasks: tasks.received(["no name"], "q", redelivered=False)),
        ("started", lambda tasks: tasks.started("t", "q", wait_seconds="soon")),
        (
            "finished",
            lambda tasks: tasks.finished("t", "q", "failed", runtime_seconds="x", end_to_end_seconds=1),
        ),
        ("refused", lambda tasks: tasks.refused("q", {})),
        ("unknown", lambda tasks: tasks.unknown({})),
        ("prepare", lambda tasks: tasks.prepare("t", {})),
        ("started", lambda tasks: tasks.started("t")),
    ],
)
def test_a_hook_that_fails_is_counted_and_never_raises(
    recorder: Recorder, hook: str, broken: Callable[[TaskMetrics], None]
) -> None:
    broken(recorder.tasks)
    assert recorder.value("fleet_metrics_errors_total", where=hook) == 1
