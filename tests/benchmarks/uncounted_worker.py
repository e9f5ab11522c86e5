"""``python -m tests.benchmarks.uncounted_worker …``: `fleet worker …` with hooks that count nothing."""

import sys

import fleet.worker.export as worker_export
from fleet.cli.main import main
from fleet.metrics.tasks import TaskMetrics


class NoMetrics(TaskMetrics):
    """Exports everything at zero and counts nothing."""

    def received(self, *args: object, **kwargs: object) -> None:
        pass

    started = finished = received


if __name__ == "__main__":
    worker_export.TaskMetrics = NoMetrics  # type: ignore[attr-defined]
    sys.argv[0] = "fleet"
    main()
