"""Who sees to it that a worker ends, when it is told to or gets nowhere, whatever its event loop does?

A thread of the main process. It forces nothing that may still happen in order: running tasks get their
deadline, child processes a grace, the event loop a chance to close its connection. Only then it exits.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from celery.worker import state

from fleet.model import Pool
from fleet.worker.application import FleetCelery
from fleet.worker.children import end_children, pool_pids
from fleet.worker.drain import waits_on_purpose
from fleet.worker.health import WorkerHealth
from fleet.worker.report import Reporter
from fleet.worker.stop import Stage, Stopping
from fleet.worker.watchdog import Ask, Sight, Stuck, Watchdog

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
#: child processes whose task is stopped get this long to clean up
CHILD_SECONDS = 10.0
#: the event loop gets this long to close its connection
CLOSE_SECONDS = 10.0
DONE, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a guard asks and tells outside."""

    #: how many messages are ready in these queues; None where the broker gives no answer
    ready_messages: Callable[[Iterable[str]], int | None]
    #: called before the process is left by force
    last_words: Callable[[], None] = lambda: None
    leave: Callable[[int], object] = os._exit


class Guard:
    """Looks at one worker several times a second."""

    def __init__(
        self,
        app: FleetCelery,
        health: WorkerHealth,
        doors: Doors,
        *,
        watchdog: Watchdog | None,
        reporter: Reporter,
    ) -> None:
        self._app = app
        self._health = health
        self._doors = doors
        self._watchdog = watchdog
        self._reporter = reporter
        self._worker: Any = None
        self._over, self._called = threading.Event(), threading.Event()
        #: it has ended the worker because it got nowhere
        self.found_stuck = False

    @property
    def _stopping(self) -> Stopping:
        return self._app.stopping

    def start(self, worker: Any) -> None:
        """Watch ``worker`` from now on; call it in the main process, before the event loop runs."""
        self._worker = worker
        threading.Thread(target=self._run, name="fleet-guard", daemon=True).start()

    def call(self) -> None:
        """Have it look now, for something has happened that others wait to be told of."""
        self._called.set()

    def close(self) -> None:
        """Leave the worker alone: it has ended in order."""
        self._over.set()
        self.call()

    def _run(self) -> None:
        while True:
            self._called.wait(POLL_SECONDS)
            self._called.clear()
            if self._over.is_set():
                return
            try:
                self._look()
            except Exception:  # whatever goes wrong in one look, the next one must follow
                log.exception("the guard stumbled", extra={"event": "guard_stumbled"})

    def _look(self) -> None:
        stage = self._stopping.stage
        self._health.draining = stage > Stage.RUN
        self._reporter.look(stage)
        match stage:
            case Stage.RUN:
                self._watch()
            case Stage.DRAIN:
                self._end_when_idle()
            case Stage.CUT:
                self._cut()
            case Stage.ABANDON:
                self._leave(self._code())

    def _watch(self) -> None:
        consumer = self._consumer()
        if self._watchdog is None or consumer is None or consumer.loop_tick is None:
            return
        match self._watchdog.judge(self._sight(consumer)):
            case Ask():
                self._watchdog.answered(self._ready(), now=time.monotonic())
            case Stuck(reason=reason):
                log.critical("%s: ending, to be started again", reason, extra={"event": "worker_stuck"})
                self.found_stuck = True
                state.should_terminate = FAILED
                self._close_in_order(FAILED)

    def _ready(self) -> int | None:
        now = self._health.snapshot()
        # What an operator has stopped this worker from consuming may wait.
        return self._doors.ready_messages(now.consuming if now.connected else now.queues)

    def _sight(self, consumer: Any) -> Sight:
        now, seen = self._health.snapshot(), time.monotonic()
        # A task of the solo pool runs in the event loop's place.
        is_taken = self._app.fleet_context.worker.pool is Pool.SOLO and bool(now.running)
        return Sight(
            now=seen,
            connected=now.connected,
            loop_age_seconds=None if is_taken else time.time() - consumer.loop_tick,
            progress=self._app.telemetry.progress,
            running=len(now.running),
            reserved=now.reserved,
            waits=consumer.holds_back or waits_on_purpose(consumer),
        )

    def _end_when_idle(self) -> None:
        consumer = self._consumer()
        is_closed = consumer is None or consumer.drained or not self._health.snapshot().connected
        if is_closed and not len(state.active_requests) and state.should_stop is None:
            state.should_stop = DONE

    def _cut(self) -> None:
        running = len(state.active_requests)
        fields = {"running": running, "signal": signal.Signals(self._stopping.last_signal).name}
        log.warning(
            "stopping what runs; it is delivered again",
            extra={"event": "worker_cut_short", "fields": fields},
        )
        pids = pool_pids(getattr(self._consumer(), "pool", None))
        end_children(pids, grace_seconds=CHILD_SECONDS, hurry=self._is_abandoned)
        if pids or not running:
            state.should_terminate = DONE
            self._close_in_order(self._code())
        else:
            # Threads cannot be stopped; the interpreter would wait for them.
            self._leave(self._code())

    def _close_in_order(self, code: int) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < deadline and not self._is_abandoned():
            if self._over.wait(POLL_SECONDS):
                return
        self._leave(code)

    def _leave(self, code: int) -> None:
        self._over.set()
        log.warning("leaving at once", extra={"event": "worker_left"})
        try:
            if not self._is_abandoned():
                self._doors.last_words()
        finally:
            self._doors.leave(code)

    def _consumer(self) -> Any:
        return getattr(self._worker, "consumer", None)

    def _is_abandoned(self) -> bool:
        return self._stopping.stage is Stage.ABANDON

    def _code(self) -> int:
        return INTERRUPTED if self._stopping.is_interrupted else DONE
