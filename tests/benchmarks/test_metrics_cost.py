"""What do metrics cost? Ratios within one run, so that they hold on any machine, and medians."""

import json
import time
from collections.abc import Callable
from statistics import median

from prometheus_client import CollectorRegistry, generate_latest

from fleet.metrics.collectors import register_declared
from fleet.metrics.registry import new_registry
from fleet.metrics.tasks import TaskMetrics
from tests.unit.metrics.fleets import WALK

ROUNDS = 15
CALLS = 2000
#: what Celery's main process has to do at least for each message: decode its body once
BODY = json.dumps(
    [[], {"to": "a@example.org", "context": {str(n): "x" * 60 for n in range(25)}}, {}]
).encode()
SCRAPE_INTERVAL_SECONDS = 15


def task_life(tasks: TaskMetrics) -> None:
    """What the worker's hooks do for one task."""
    tasks.received("fleet.send_mail", "fleet.email", redelivered=False)
    tasks.started("fleet.send_mail", "fleet.email", wait_seconds=0.2)
    tasks.finished("fleet.send_mail", "fleet.email", "succeeded", runtime_seconds=0.5, end_to_end_seconds=0.7)


def seconds_per_call(work: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(CALLS):
        work()
    return (time.process_time() - started) / CALLS


def interleaved(*works: Callable[[], object]) -> list[float]:
    """Return the median time of each, measured in turns, so that a busy machine slows all of them alike."""
    rounds = [[seconds_per_call(work) for work in works] for _ in range(ROUNDS)]
    return [median(column) for column in zip(*rounds, strict=True)]


def test_counting_a_task_costs_less_than_decoding_a_few_bodies() -> None:
    tasks = TaskMetrics(new_registry())
    hooks, decode = interleaved(lambda: task_life(tasks), lambda: json.loads(BODY))
    print(f"\none task's hooks: {hooks * 1e6:.1f} µs = decoding {hooks / decode:.2f} bodies of {len(BODY)} B")
    assert hooks / decode < 3


def test_a_scrape_of_a_busy_worker_costs_less_than_a_thousandth_of_a_core() -> None:
    registry = busy_registry(tasks=12)
    started = time.process_time()
    rounds = 20
    for _ in range(rounds):
        exposition = generate_latest(registry)
    seconds = (time.process_time() - started) / rounds
    lines = exposition.count(b"\n")
    share = seconds / SCRAPE_INTERVAL_SECONDS
    print(f"\nscrape: {lines} lines in {seconds * 1e3:.1f} ms = {share:.3%} of a core")
    assert share < 0.001


def test_label_children_are_kept_because_looking_them_up_costs_more() -> None:
    registry = CollectorRegistry()
    tasks = TaskMetrics(registry)
    tasks.prepare("fleet.send_mail", "fleet.email")

    def naive() -> None:
        tasks._received.labels("fleet.send_mail", "fleet.email").inc()

    def kept() -> None:
        tasks.received("fleet.send_mail", "fleet.email", redelivered=False)

    kept_seconds, naive_seconds = interleaved(kept, naive)
    print(f"\nkept: {kept_seconds * 1e9:.0f} ns, looked up: {naive_seconds * 1e9:.0f} ns")
    assert kept_seconds < naive_seconds


def busy_registry(*, tasks: int) -> CollectorRegistry:
    registry = new_registry()
    register_declared(registry, WALK)
    metrics = TaskMetrics(registry)
    for number in range(tasks):
        metrics.received(f"shop.task{number}", "fleet.email", redelivered=False)
        metrics.started(f"shop.task{number}", "fleet.email", wait_seconds=1)
    return registry
