"""How did a run end? One word for each end that an operator would act on differently."""

from celery.exceptions import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)

from fleet.worker.task import RetriesExhausted

SUCCEEDED = "succeeded"
FAILED = "failed"
RETRIED = "retried"
RETRIES_EXHAUSTED = "retries_exhausted"
TIMED_OUT = "timed_out"
LOST = "lost"
REJECTED = "rejected"
REQUEUED = "requeued"
IGNORED = "ignored"
REVOKED = "revoked"
EXPIRED = "expired"


def outcome_of(error: BaseException, *, retries: int, max_retries: int | None) -> str:
    """Return the outcome of a run that ended with ``error`` in its attempt number ``retries`` + 1."""
    match error:
        case Retry():
            return RETRIED
        case Reject():
            return REQUEUED if error.requeue else REJECTED
        case Ignore():
            return IGNORED
        case TimeLimitExceeded() | SoftTimeLimitExceeded():
            return TIMED_OUT
        case Terminated():
            return REVOKED
        case WorkerLostError() | SystemExit() | KeyboardInterrupt():
            return LOST
        case RetriesExhausted() | MaxRetriesExceededError():
            return RETRIES_EXHAUSTED
    # Celery raises the last attempt's own error when it gives up.
    return RETRIES_EXHAUSTED if retries and max_retries is not None and retries >= max_retries else FAILED
