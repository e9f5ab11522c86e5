"""What can every task of the fleet do? Retry through the broker, back to the queue it came from."""

import logging
import time
from typing import Any, NoReturn

from celery import Task
from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError

from fleet.publish.message import (
    SENT_HEADER,
    TRACE_HEADER,
    child_traceparent,
    is_traceparent,
    traceparent_of,
)
from fleet.worker.delay import whole_seconds
from fleet.worker.message import OVERRIDING_HEADERS, PROTOCOL_HEADERS, QUEUE_HEADER
from fleet.worker.producer import Misdirected

log = logging.getLogger(__name__)

#: names that a retried message does not take over from its predecessor: the protocol's are set anew, and with
#: CC and BCC RabbitMQ would route copies to further keys
_NOT_KEPT = PROTOCOL_HEADERS | OVERRIDING_HEADERS | {SENT_HEADER, QUEUE_HEADER, "headers", "CC", "BCC"}


class RetriesExhausted(Exception):
    """A task gave up after its last attempt; the message names the error of that attempt."""


def kept_headers(headers: dict[str, Any] | None, *, now: float) -> dict[str, Any]:
    """Return the headers of a retried message: the sender's own, stamped anew, without the broker's."""
    kept = {
        name: value
        for name, value in (headers or {}).items()
        if name not in _NOT_KEPT and not name.lower().startswith(("x-", "_"))
    }
    return kept | {SENT_HEADER: now}


def trace_of(running: Any, task_id: str) -> str:
    """Return the trace context of a task that is sent: in the trace of the ``running`` request, if any."""
    if running is None:
        return traceparent_of(task_id)
    parent = (running.headers or {}).get(TRACE_HEADER)
    if not isinstance(parent, str) or not is_traceparent(parent):
        parent = traceparent_of(str(running.id))
    return child_traceparent(parent, task_id)


class FleetTask(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose retries go back to their queue through the broker's own delay, confirmed and stamped."""

    abstract = True
    Request = "fleet.worker.request:FleetRequest"
    Strategy = "fleet.worker.strategy:adopting"
    #: an unroutable publish is an error, not a loss
    mandatory = True

    def signature_from_request(
        self,
        request: Any = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **options: Any,
    ) -> Any:
        """Return the signature of the next attempt, addressed to the queue that this one came from.

        The delivery's routing key cannot say where that is: after a delay it carries the delay's bits.
        """
        request = self.request if request is None else request
        origin = queue or getattr(request, QUEUE_HEADER, None)
        signature = super().signature_from_request(request, args, kwargs, queue=origin, **options)
        signature.options["headers"] = kept_headers(request.headers, now=time.time())
        return signature

    def retry(self, *args: Any, **options: Any) -> Retry:
        """Retry as Celery does, but put the message back when the broker could not take the next attempt.

        Celery would dead-letter it: an unreachable broker is no reason to give up on a task. One that has no
        place for the next attempt is: put back, the message would run over and over at once.
        """
        try:
            return super().retry(*args, **options)
        except Reject as rejected:
            raise self._unsent(rejected.reason) from rejected

    def _unsent(self, reason: object) -> Reject:
        """Return what becomes of the message whose next attempt could not be sent, after saying why."""
        goes_back = isinstance(reason, OperationalError | OSError) and not isinstance(reason, Misdirected)
        fields = {"task": self.name, "id": self.request.id, "goes_back": goes_back}
        log.error("no retry could be sent: %s", reason, extra={"event": "retry_failed", "fields": fields})
        return Reject(reason, requeue=goes_back)

    def retry_later(self, error: Exception, *, delay_seconds: float, max_attempts: int) -> NoReturn:
        """Send this task again after ``delay_seconds``, or give up for good after ``max_attempts``.

        Raises Retry (the next attempt is confirmed by the broker), Reject (the broker has not taken it, so
        this message goes back, or to the dead letters) or RetriesExhausted from ``error``; the last ends in
        the dead-letter queue.
        """
        attempt = self.request.retries + 1
        if attempt >= max_attempts:
            raise RetriesExhausted(f"gave up after {attempt} attempts: {error}") from error
        try:
            raise self.retry(exc=error, countdown=whole_seconds(delay_seconds), max_retries=max_attempts)
        finally:
            # Celery keeps an overridden limit on the task, where the next message would meet it.
            self.__dict__.pop("override_max_retries", None)
