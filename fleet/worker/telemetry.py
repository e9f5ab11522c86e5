"""Who is told about messages and runs? The metrics of this process, and the fleet's journal.

Called from Celery's event loop: no method blocks, and none raises.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol

from fleet.errors import FleetError
from fleet.journal.record import Outcome
from fleet.metrics.metric import OTHER
from fleet.publish.message import FIRST_HEADER, SENT_HEADER
from fleet.worker.delay import delay_of
from fleet.worker.gate import NOT_UNDERSTOOD, Admit, Postpone, Reason, Refuse, Verdict
from fleet.worker.message import is_name
from fleet.worker.outcome import EXPIRED, LOST

if TYPE_CHECKING:
    from fleet.metrics.tasks import TaskMetrics

#: outcome of a message that never ran because the gate would not have it
REFUSED = "refused"

P = ParamSpec("P")


class Journal(Protocol):
    """What is needed of the journal's writer."""

    def put_nowait(self, outcome: Outcome) -> None:
        """Take ``outcome`` for writing; never blocks, never raises."""
        ...


def _quiet(
    hook: Callable[Concatenate["Telemetry", P], None],
) -> Callable[Concatenate["Telemetry", P], None]:
    @wraps(hook)
    def call(self: "Telemetry", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever goes wrong here, the task must go on
            # Not even the counting of it may raise.
            with suppress(Exception):
                if self.metrics is not None:
                    self.metrics.errors.labels(hook.__name__).inc()

    return call


class Telemetry:
    """Counts and journals what happens in one worker; without metrics and journal it does nothing."""

    def __init__(
        self,
        *,
        host: str = "",
        worker: str = "",
        metrics: "Callable[[], TaskMetrics] | None" = None,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        #: runs whose child process went away
        self.lost = 0
        #: grows whenever a message comes, a run begins or a run ends
        self.progress = 0
        self._host = host
        self._worker = worker
        self._metrics = metrics
        self._journal = journal
        self._clock = clock

    @property
    def metrics(self) -> "TaskMetrics | None":
        """Return what counts, which may be made only now."""
        return self._metrics() if self._metrics is not None else None

    @_quiet
    def received(self, message: Any, queue: str | None, verdict: Verdict) -> None:
        """Report a delivered message and what the gate said."""
        self.progress += 1
        name = queue or OTHER
        # Names from refused messages are a stranger's; they get no series of their own.
        task = message.headers["task"] if isinstance(verdict, Admit | Postpone) else OTHER
        if isinstance(verdict, Refuse):
            self._journal_refusal(message.headers, name, verdict)
        if (metrics := self.metrics) is None:
            return
        metrics.received(task, name, redelivered=bool(message.delivery_info.get("redelivered")))
        if isinstance(verdict, Refuse):
            if verdict.reason in NOT_UNDERSTOOD:
                metrics.unknown(name)
            else:
                metrics.refused(name, verdict.reason.value)

    @_quiet
    def started(self, request: Any) -> None:
        """Report that a child has begun to run ``request``."""
        self.progress += 1
        sent = _stamp(request.request_dict, SENT_HEADER)
        request.wait_seconds = None
        if sent is not None:
            due = sent + delay_of(str(request.delivery_info.get("routing_key", "")))
            eta = request.eta.timestamp() if request.eta else due
            request.wait_seconds = max(0.0, request.time_start - max(due, eta))
        if (metrics := self.metrics) is not None:
            metrics.started(request.task.name, request.queue, wait_seconds=request.wait_seconds)

    @_quiet
    def finished(self, request: Any, outcome: str, *, error: BaseException | None) -> None:
        """Report how the run of ``request`` ended."""
        self.progress += 1
        self.lost += outcome == LOST
        now = self._clock()
        started = request.time_start
        runtime = now - started if started else None
        first = _stamp(request.request_dict, FIRST_HEADER)
        if self._journal is not None:
            self._journal.put_nowait(
                Outcome(
                    task_id=request.id,
                    task=request.task.name,
                    queue=request.queue,
                    host=self._host,
                    worker=self._worker,
                    outcome=outcome,
                    started=started,
                    finished=now,
                    runtime_seconds=runtime,
                    wait_seconds=getattr(request, "wait_seconds", None),
                    attempt=(request.request_dict.get("retries") or 0) + 1,
                    error=type(error).__name__ if error else None,
                    message=_told(error),
                )
            )
        if (metrics := self.metrics) is not None:
            metrics.finished(
                request.task.name,
                request.queue,
                outcome,
                runtime_seconds=runtime,
                end_to_end_seconds=None if first is None else now - first,
            )

    def _journal_refusal(self, headers: Mapping[str, Any], queue: str, refusal: Refuse) -> None:
        task_id, task = headers.get("id"), headers.get("task")
        # The journal's own messages carry these names, and a stranger's may fit into none.
        if self._journal is None or not (is_name(task_id) and is_name(task)):
            return
        self._journal.put_nowait(
            Outcome(
                task_id=task_id,
                task=task,
                queue=queue,
                host=self._host,
                worker=self._worker,
                outcome=EXPIRED if refusal.reason is Reason.EXPIRED else REFUSED,
                started=None,
                finished=self._clock(),
                runtime_seconds=None,
                wait_seconds=None,
                error=refusal.reason.value,
                message=refusal.detail,
            )
        )


def _told(error: BaseException | None) -> str | None:
    """Return what ``error`` says, where its class vouches that the journal may keep it."""
    return error.message if isinstance(error, FleetError) and error.is_journaled else None


def _stamp(headers: Mapping[str, Any], name: str) -> float | None:
    """Return a sender's time stamp, or None when there is none that can be reckoned with."""
    value = headers.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
