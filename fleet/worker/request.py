"""What happens in the worker's main process while a task runs, and who is told how it ended?

Celery calls these hooks on its event loop: they never block, never raise, and record only after Celery has
done its own part, because an error before that would leave a finished task unacknowledged.
"""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from fleet.worker.adoption import Settled
from fleet.worker.message import QUEUE_HEADER
from fleet.worker.outcome import EXPIRED, REQUEUED, REVOKED, SUCCEEDED, outcome_of
from fleet.worker.stop import Stage

#: shown instead of arguments, which may hold addresses or secrets
HIDDEN = "(hidden)"
#: how a run ends whose child process a stopping worker has ended
_CUT_SHORT = (WorkerLostError, Terminated, SystemExit)


class FleetRequest(Request):  # type: ignore[misc]  # celery ships no types
    """One delivered message: bounded in time by its queue, and reported once when its run ends."""

    _finished = False
    _timed_out = False

    def __init_subclass__(cls, **options: Any) -> None:
        # For each task Celery makes a subclass that defines ``on_success`` without calling super.
        super().__init_subclass__(**options)
        if "on_success" in cls.__dict__:
            cls.on_success = _reported(cls.__dict__["on_success"])

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        self.queue = str(message.delivery_info.get(QUEUE_HEADER, ""))
        # For the child, whose retries go back to this queue.
        self._request_dict[QUEUE_HEADER] = self.queue
        self.time_limits = self._limits()

    def _limits(self) -> tuple[float | None, float | None]:
        """Return hard and soft limit: the message may tighten its queue's and its task's, never lift them."""
        queue = self.app.declared_queues.get(self.queue)
        hard, soft = self._request_dict.get("timelimit") or (None, None)
        return strictest(
            hard=(queue and queue.max_runtime_seconds, self.task.time_limit, hard),
            soft=(self.task.soft_time_limit, soft),
        )

    def info(self, safe: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Celery's signature
        """Describe this request for ``celery inspect``, without its arguments."""
        return dict(super().info(safe=safe), args=HIDDEN, kwargs=HIDDEN)

    def maybe_expire(self) -> bool:
        """Tell whether the message has expired.

        Celery also revokes its id; then one message could make the worker drop another of the same id.
        """
        return bool(self.expires) and self.expires.timestamp() < time.time()

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        """Called when a child has begun to run the task."""
        super().on_accepted(pid, time_accepted)
        self.app.telemetry.started(self)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Called when the run ended in anything but success: retry, failure, time limit, lost child."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        self._timed_out = self._timed_out or isinstance(error, TimeLimitExceeded)
        if self.app.stopping.stage >= Stage.CUT and isinstance(error, _CUT_SHORT):
            # Not settled: the broker delivers it again when this worker is gone, and nothing runs any more.
            state.task_ready(self)
            self._finish(REQUEUED)
            return
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        retries = self._request_dict.get("retries") or 0
        self._finish(outcome_of(error, retries=retries, max_retries=self.task.max_retries), error=error)

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
        """Called when a time limit has passed; for a hard one ``on_failure`` has been called before."""
        self._timed_out = self._timed_out or not soft
        super().on_timeout(soft, timeout)

    def acknowledge(self) -> None:
        """Acknowledge the message, once."""
        if not self.acknowledged:
            self._remember("ack")
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        """Reject the message, once.

        Celery puts a timed-out task back into its queue, where it would time out again up to the delivery
        limit; it is dead-lettered instead.
        """
        requeue = requeue and not self._timed_out
        if not self.acknowledged and not requeue:
            self._remember("reject")
        super().reject(requeue=requeue)

    def _remember(self, settled: Settled) -> None:
        # One that was stopped with its connection may have been cut short, whatever it says: it runs again.
        if not self._already_cancelled:
            self.app.adoptions.remember(self._message, settled=settled)

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:  # noqa: FBT001 - Celery's signature
        if expired:
            # Celery would acknowledge it; what nobody has run belongs where an operator can see it.
            self.reject(requeue=False)
        super()._announce_revoked(reason, terminated, signum, expired)
        self._finish(EXPIRED if expired else REVOKED)

    def _announce_cancelled(self, emit_retry: bool = True) -> None:  # noqa: FBT001, FBT002 - Celery's signature
        super()._announce_cancelled(emit_retry=emit_retry)
        self._finish(REQUEUED)

    def _finish(self, outcome: str, *, error: BaseException | None = None) -> None:
        # A hard time limit is reported by two hooks.
        if not self._finished:
            self._finished = True
            self.app.telemetry.finished(self, outcome, error=error)


def _reported(on_success: Callable[..., None]) -> Callable[..., None]:
    @wraps(on_success)
    def report(self: FleetRequest, failed__retval__runtime: Any, **options: Any) -> None:
        on_success(self, failed__retval__runtime, **options)
        if not failed__retval__runtime[0]:
            self._finish(SUCCEEDED)

    return report


@lru_cache(maxsize=256)
def strictest(
    *, hard: tuple[float | None, ...], soft: tuple[float | None, ...]
) -> tuple[float | None, float | None]:
    """Return the least hard and the least soft limit (seconds), the soft one only where it comes first.

    Celery counts the hard limit from the soft one's end: a soft limit beyond the hard one would lift it.
    """
    least_hard, least_soft = _least(hard), _least(soft)
    if least_hard and least_soft and least_soft >= least_hard:
        return least_hard, None
    return least_hard, least_soft


def _least(limits: Iterable[float | None]) -> float | None:
    return min((limit for limit in limits if limit), default=None)
