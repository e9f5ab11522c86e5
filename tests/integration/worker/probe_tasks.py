# mypy: disable-error-code="untyped-decorator"
# Celery has no types.
"""Tasks of an operator's own, which note what they do in a file; copied beside the worker under test."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, shared_task, signals

#: an app as a program without fleet would have it
own = Celery("own", broker="amqp://nobody@127.0.0.1:1//")


def note(*words: object) -> None:
    """Append one line; a single small write in append mode is not torn by another process's."""
    line = " ".join(map(str, (f"{time.time():.3f}", os.getpid(), *words))) + "\n"
    with Path(os.environ["PROBE_LOG"]).open("a") as log:
        log.write(line)


if "PROBE_BLOCK" in os.environ:

    @signals.worker_ready.connect(weak=False)
    def block(sender: Any, **_: object) -> None:
        """Let the event loop hang a second after the worker has come up."""
        sender.timer.call_after(1, time.sleep, (600,))


if "PROBE_RELEASE" in os.environ:

    @shared_task(name="probe.added")
    def added(word: str) -> None:
        note("added", word)


@shared_task(name="probe.ok")
def ok(word: str = "ok", **hidden: object) -> str:
    note("ok", word)
    return word


@own.task(name="probe.own", bind=True)
def owned(self: Any) -> None:
    note("own", type(self.app).__name__, self.app.current_task.name)


@shared_task(name="probe.fail")
def fail(word: str = "x") -> None:
    note("fail", word)
    secret_token = "hunter2"
    raise ValueError(f"no good: {len(word)} {len(secret_token)}")


@shared_task(
    name="probe.flaky", bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=2
)
def flaky(self: Any, failures: int) -> None:
    note("flaky", self.request.retries)
    if self.request.retries < failures:
        raise ConnectionError("down")


@shared_task(name="probe.later", bind=True)
def later(self: Any, failures: int) -> None:
    request = self.request
    note("later", request.retries, request.fleet_queue)
    note("stamps", getattr(request, "fleet_key", None), request.fleet_first, request.fleet_sent)
    if self.request.retries < failures:
        self.retry_later(OSError("down"), delay_seconds=0.2, max_attempts=2)


@shared_task(name="probe.die")
def die() -> None:
    note("die")
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="probe.sleep")
def sleep(seconds: float) -> None:
    note("start", seconds)
    time.sleep(seconds)
    note("end", seconds)


@shared_task(name="probe.hold")
def hold(word: str = "x") -> None:
    """Run until the test releases it, or for a minute."""
    note("start", word)
    deadline = time.monotonic() + 60
    while not Path(os.environ["PROBE_LOG"] + ".release").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    note("end", word)


@shared_task(name="probe.limited", rate_limit="1/h")
def limited(word: str) -> None:
    note("start", word)
    note("end", word)


@shared_task(name="probe.stubborn")
def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("start", "stubborn")
    time.sleep(60)
    note("end", "stubborn")


@shared_task(name="probe.fall")
def fall() -> None:
    """Fail when the test lets it."""
    note("start", "fall")
    deadline = time.monotonic() + 60
    while not Path(os.environ["PROBE_LOG"] + ".release").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    raise ValueError("no good")


@shared_task(name="probe.excuse")
def excuse() -> None:
    """Take being stopped for an end like any other."""
    note("start", "excuse")
    deadline = time.monotonic() + 60
    try:
        while not Path(os.environ["PROBE_LOG"] + ".release").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        note("whole", "excuse")
    except SystemExit:
        note("excused", "excuse")


@shared_task(name="probe.send")
def send(name: str, *args: object) -> None:
    from celery import current_app

    current_app.send_task(name, args)
    note("sent", name)


@shared_task(name="probe.pass_on", bind=True, max_retries=3)
def pass_on(self: Any, *, retries: int = 0, hold: bool = False, **options: Any) -> None:
    """Retry so many times, then send ``probe.ok``; on ``hold`` wait for the test's release before that."""
    headers = self.request.headers
    note("pass_on", self.request.retries, headers["traceparent"], headers["fleet_sent"])
    deadline = time.monotonic() + 60
    while hold and not Path(os.environ["PROBE_LOG"] + ".release").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if self.request.retries < retries:
        raise self.retry(countdown=0.2)
    try:
        sent = ok.apply_async(("passed on",), **options)
    except ok.OperationalError as error:
        note("unsent", type(error).__name__)
        raise
    note("sent", sent.id)
