"""What does a worker with everything on cost beside plain Celery's? The same messages, in turns."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

import pytest

from fleet import Client
from fleet.daemons.process import Child
from tests.benchmarks.workers import Bench, measure
from tests.servers import Provisioned

ROUNDS = 7
CONCURRENCY = 2
START_ROUNDS = 15
#: shown beside what was measured; see docs/explanation/benchmarks.md
WANTED_READY_SECONDS = 0.5


@pytest.mark.timeout(1200)
def test_a_worker_with_everything_on_keeps_up_with_plain_celery(provisioned: Provisioned) -> None:
    bench = Bench.create(provisioned, concurrency=CONCURRENCY)
    with Client(bench.file) as client:
        rounds = [
            (measure(bench, client, bench.ours), measure(bench, client, _plain(bench))) for _ in range(ROUNDS)
        ]
    speed = median(ours.per_second / plain.per_second for ours, plain in rounds)
    cpu = median(ours.cpu_per_task / plain.cpu_per_task for ours, plain in rounds)
    print()
    for name, column in zip(
        ("fleet worker", "celery worker -l INFO"), zip(*rounds, strict=True), strict=True
    ):
        rate = median(each.per_second for each in column)
        each_task = median(each.cpu_per_task for each in column)
        print(f"{name}: {rate:,.0f} tasks/s, main process {each_task * 1e6:.0f} µs CPU per task")
    print(f"fleet beside plain: {speed:.2f} times as fast, {cpu:.2f} times the main process's CPU")
    assert speed >= 1
    assert cpu <= 1.10


def test_how_long_a_worker_takes_from_its_start_until_it_is_ready(provisioned: Provisioned) -> None:
    bench = Bench.create(provisioned, concurrency=CONCURRENCY)
    rounds = [(bench.seconds_to_ready(), _seconds(_plain(bench))) for _ in range(START_ROUNDS)]
    ours, plain = zip(*rounds, strict=True)
    ratio = median(mine / theirs for mine, theirs in rounds)
    print(
        f"\nfrom exec to ready: {median(ours):.2f} s, best {min(ours):.2f} s"
        f" (wanted: {WANTED_READY_SECONDS}), plain Celery {median(plain):.2f} s, {ratio:.2f} times;"
        f" load {os.getloadavg()[0]:.1f}"
    )
    assert ratio < 1


def _plain(bench: Bench) -> Callable[[], AbstractContextManager[Child]]:
    @contextmanager
    def run() -> Iterator[Child]:
        with bench.plain(concurrency=CONCURRENCY) as child:
            yield child

    return run


def _seconds(worker: Callable[[], AbstractContextManager[Child]]) -> float:
    started = time.perf_counter()
    with worker():
        return time.perf_counter() - started
