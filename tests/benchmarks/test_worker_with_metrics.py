"""What do the hooks cost in a real worker? CPU of its main process for the same tasks, with and without."""

from functools import partial
from statistics import median

import pytest

from fleet import Client
from tests.benchmarks.workers import Bench, measure
from tests.servers import Provisioned

ROUNDS = 5
UNCOUNTED = "tests.benchmarks.uncounted_worker"


@pytest.mark.timeout(900)
def test_the_hooks_cost_less_than_a_tenth_of_what_the_main_process_does(provisioned: Provisioned) -> None:
    bench = Bench.create(provisioned, concurrency=2)
    with Client(bench.file) as client:
        rounds = [
            (measure(bench, client, partial(bench.ours, UNCOUNTED)), measure(bench, client, bench.ours))
            for _ in range(ROUNDS)
        ]
    ratio = median(counted.cpu_per_task / uncounted.cpu_per_task for uncounted, counted in rounds)
    without, with_hooks = (
        median(each.cpu_per_task for each in column) for column in zip(*rounds, strict=True)
    )
    print(
        f"\nmain process, per task: {without * 1e6:.0f} µs without, {with_hooks * 1e6:.0f} µs with hooks"
        f" = {ratio:.3f}"
    )
    assert ratio < 1.10
