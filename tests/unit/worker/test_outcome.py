import pytest
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

from fleet.metrics.metric import OUTCOMES
from fleet.worker import outcome
from fleet.worker.outcome import outcome_of
from fleet.worker.task import RetriesExhausted


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError(), "failed"),
        (Retry(), "retried"),
        (Reject("no", requeue=False), "rejected"),
        (Reject("no", requeue=True), "requeued"),
        (Ignore(), "ignored"),
        (TimeLimitExceeded(5), "timed_out"),
        (SoftTimeLimitExceeded(), "timed_out"),
        (WorkerLostError(), "lost"),
        (SystemExit(1), "lost"),
        (Terminated(), "revoked"),
        (RetriesExhausted(), "retries_exhausted"),
        (MaxRetriesExceededError(), "retries_exhausted"),
    ],
    ids=repr,
)
def test_each_end_has_its_word(error: BaseException, expected: str) -> None:
    assert outcome_of(error, retries=0, max_retries=3) == expected


@pytest.mark.parametrize(("retries", "expected"), [(0, "failed"), (2, "failed"), (3, "retries_exhausted")])
def test_the_last_attempts_own_error_means_that_retries_are_exhausted(retries: int, expected: str) -> None:
    assert outcome_of(ValueError(), retries=retries, max_retries=3) == expected


def test_a_task_that_may_retry_for_ever_only_fails() -> None:
    assert outcome_of(ValueError(), retries=99, max_retries=None) == "failed"


def test_a_task_that_may_never_retry_only_fails() -> None:
    assert outcome_of(ValueError(), retries=0, max_retries=0) == "failed"


def test_the_metrics_know_every_word() -> None:
    words = {value for name, value in vars(outcome).items() if name.isupper()}
    assert words <= set(OUTCOMES)
