"""How is a task's life counted? Called from the worker's hooks: cheap, bounded, and never in the way.

Every method swallows its own errors and counts them in ``fleet_metrics_errors_total``: a hook that raises
would leave a finished task listed as running and could skip its acknowledgement.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fleet.metrics.metric import OTHER, OUTCOMES, UNFINISHED_OUTCOMES
from fleet.metrics.registry import counter, gauge, histogram

#: distinct task names, queues and reasons that get series of their own
MAX_TASKS = 200
MAX_QUEUES = 100
MAX_REASONS = 20

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """The label children of one (task, queue), kept because looking them up costs more than counting."""

    received: Counter
    redelivered: Counter
    started: Counter
    finished: dict[str, Counter]
    wait: Histogram
    runtime: Histogram
    end_to_end: Histogram
    newest_start: Gauge


def _silent(
    hook: Callable[Concatenate["TaskMetrics", P], None],
) -> Callable[Concatenate["TaskMetrics", P], None]:
    @wraps(hook)
    def call(self: "TaskMetrics", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever goes wrong here, the task must go on
            self.errors.labels(hook.__name__).inc()

    return call


class TaskMetrics:
    """Counts and times of tasks in this worker; no method raises, none blocks."""

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.time) -> None:
        self.errors = counter("fleet_metrics_errors_total", registry)
        self._received = counter("fleet_tasks_received_total", registry)
        self._redelivered = counter("fleet_tasks_redelivered_total", registry)
        self._started = counter("fleet_tasks_started_total", registry)
        self._finished = counter("fleet_tasks_finished_total", registry)
        self._refused = counter("fleet_tasks_refused_total", registry)
        self._unknown = counter("fleet_tasks_unknown_total", registry)
        self._wait = histogram("fleet_task_queue_wait_seconds", registry)
        self._runtime = histogram("fleet_task_runtime_seconds", registry)
        self._end_to_end = histogram("fleet_task_end_to_end_seconds", registry)
        self._newest_start = gauge("fleet_queue_newest_start_timestamp_seconds", registry)
        self._series: dict[tuple[str, str], _Series] = {}
        self._tasks: set[str] = set()
        self._queues: set[str] = set()
        self._reasons: set[str] = set()
        self._clock = clock

    @_silent
    def prepare(self, task: str, queue: str) -> None:
        """Export ``task`` on ``queue`` at zero now, so that its first failure shows as an increase."""
        self._of(task, queue)

    @_silent
    def received(self, task: str, queue: str, *, redelivered: bool) -> None:
        """Count a message that the broker delivered from ``queue``."""
        series = self._of(task, queue)
        series.received.inc()
        if redelivered:
            series.redelivered.inc()

    @_silent
    def started(self, task: str, queue: str, *, wait_seconds: float | None) -> None:
        """Count a run that begins; ``wait_seconds`` is None where the message carries no stamp."""
        series = self._of(task, queue)
        series.started.inc()
        series.newest_start.set(self._clock())
        if wait_seconds is not None:
            series.wait.observe(max(0.0, wait_seconds))

    @_silent
    def finished(
        self,
        task: str,
        queue: str,
        outcome: str,
        *,
        runtime_seconds: float | None,
        end_to_end_seconds: float | None,
    ) -> None:
        """Count a run that ended in ``outcome`` (one of ``OUTCOMES``); a time is None where it is unknown."""
        series = self._of(task, queue)
        counted = outcome if outcome in series.finished else OTHER
        series.finished[counted].inc()
        if runtime_seconds is not None:
            series.runtime.observe(max(0.0, runtime_seconds))
        if end_to_end_seconds is not None and outcome not in UNFINISHED_OUTCOMES:
            series.end_to_end.observe(max(0.0, end_to_end_seconds))

    @_silent
    def refused(self, queue: str, reason: str) -> None:
        """Count a message that ``queue`` may not carry; ``reason`` is a short word, never outside text."""
        self._refused.labels(
            _admit(queue, self._queues, MAX_QUEUES), _admit(reason, self._reasons, MAX_REASONS)
        ).inc()

    @_silent
    def unknown(self, queue: str) -> None:
        """Count a message that cannot be decoded or names no task that this worker knows."""
        self._unknown.labels(_admit(queue, self._queues, MAX_QUEUES)).inc()

    def _of(self, task: str, queue: str) -> _Series:
        known = self._series.get((task, queue))
        if known is not None:
            return known
        names = _admit(task, self._tasks, MAX_TASKS), _admit(queue, self._queues, MAX_QUEUES)
        # Keyed by the admitted names, so that foreign names cannot make this cache grow.
        if names not in self._series:
            self._series[names] = self._make(*names)
        return self._series[names]

    def _make(self, task: str, queue: str) -> _Series:
        return _Series(
            received=self._received.labels(task, queue),
            redelivered=self._redelivered.labels(task, queue),
            started=self._started.labels(task, queue),
            finished={outcome: self._finished.labels(task, queue, outcome) for outcome in (*OUTCOMES, OTHER)},
            wait=self._wait.labels(task, queue),
            runtime=self._runtime.labels(task, queue),
            end_to_end=self._end_to_end.labels(task, queue),
            newest_start=self._newest_start.labels(queue),
        )


def _admit(value: str, seen: set[str], limit: int) -> str:
    """Return ``value``, or ``other`` when it would be one more than ``limit`` distinct values."""
    if value not in seen:
        if len(seen) >= limit:
            return OTHER
        seen.add(value)
    return value
