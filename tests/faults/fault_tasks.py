# mypy: disable-error-code="untyped-decorator"
# Celery has no types.
"""Tasks that leave a trace outside of every store of fleet, Celery and the broker: a file of their host.

Copied beside the fleet file or the plain app, onto lab hosts too, so it stands alone.
"""

import os
import signal
import subprocess
import time
from typing import Any

from celery import shared_task

#: a task that runs says so this often, so that a second run beside it can be told from one after it
BEAT_SECONDS = 0.2


def note(event: str, request: Any) -> None:
    """Append one line; a single small write in append mode is not torn by another process's."""
    words = (event, request.id, request.retries, os.environ["FAULTS_HOST"], os.getpid(), f"{time.time():.4f}")
    file = os.open(os.environ["FAULTS_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(file)


def work_for(seconds: float, request: Any) -> None:
    """Begin, show life until the time is over, and end."""
    note("start", request)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > BEAT_SECONDS:
        time.sleep(BEAT_SECONDS)
        note("beat", request)
    time.sleep(max(0.0, left))
    note("end", request)


@shared_task(name="faults.work", bind=True)
def work(self: Any, seconds: float) -> None:
    """Do something short."""
    work_for(seconds, self.request)


@shared_task(name="faults.long", bind=True)
def long(self: Any, seconds: float) -> None:
    """Do something that outlasts connections."""
    work_for(seconds, self.request)


@shared_task(name="faults.retry", bind=True, max_retries=1)
def retry(self: Any, seconds: int) -> None:
    """Fail once, and succeed ``seconds`` later."""
    if not self.request.retries:
        note("start", self.request)
        note("fail", self.request)
        raise self.retry(countdown=seconds)
    work_for(0, self.request)


@shared_task(name="faults.program", bind=True, max_retries=1)
def program(self: Any, seconds: float) -> None:
    """Run a program, as a backup runs rsync; when it fails, try once more a second later, then give up."""
    note("start", self.request)
    try:
        subprocess.run(("sleep", str(seconds)), check=True)
    except subprocess.CalledProcessError as error:
        note("fail", self.request)
        raise self.retry(exc=error, countdown=1) from error
    note("end", self.request)


@shared_task(name="faults.poison", bind=True)
def poison(self: Any) -> None:
    """Fail for good."""
    note("start", self.request)
    note("fail", self.request)
    raise ValueError("poison")


@shared_task(name="faults.kill", bind=True)
def kill(self: Any) -> None:
    """Kill the process it runs in, as running out of memory does."""
    note("start", self.request)
    note("dies", self.request)
    os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get("FAULTS_RELEASE") == "tomorrow":

    @shared_task(name="faults.of_tomorrow", bind=True)
    def of_tomorrow(self: Any) -> None:
        """Do something that only the next release can."""
        work_for(0, self.request)
