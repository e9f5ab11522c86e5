"""What does systemd see of a worker? That it is ready, what it does, that it lives, and that it needs time.

Called by the guard's thread, which outlives a hang of the event loop. So a sign of life is never the
thread's own: the event loop must have turned since the last one, unless nothing is asked of it.
"""

import time
from collections.abc import Callable

from fleet.metrics.state import WorkerState
from fleet.model import Pool
from fleet.worker.health import WorkerHealth
from fleet.worker.notify import Notifier
from fleet.worker.stop import DRAINING, ENDING, Stage


class Reporter:
    """Tells a worker's service manager how it fares."""

    def __init__(
        self,
        notifier: Notifier,
        health: WorkerHealth,
        *,
        pool: Pool,
        is_held_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self._notifier = notifier
        self._health = health
        self._pool = pool
        self._is_held_back = is_held_back
        #: when the event loop had turned at the last sign of life
        self._tick: float | None = None

    def look(self, stage: Stage) -> None:
        """Tell what has become of the worker since the last look."""
        if not self._notifier.is_heard:
            return
        now, state = time.monotonic(), self._health.snapshot()
        text = status(state, stage, is_held_back=self._is_held_back())
        if not self._notifier.is_ready and self._health.ready()[0]:
            self._notifier.ready(text, now=now)
        if stage > Stage.RUN:
            self._notifier.stopping(text, now=now)
            if state.running or stage > Stage.DRAIN:
                self._notifier.extend(now=now)
        self._notifier.status(text, now=now)
        if self._notifier.is_due(now=now) and self._lives(state):
            self._tick = state.loop_tick
            self._notifier.alive(now=now)

    def _lives(self, state: WorkerState) -> bool:
        # Waiting for the broker blocks the event loop, and so does a task of the solo pool.
        is_excused = not state.connected or (self._pool is Pool.SOLO and bool(state.running))
        return is_excused or state.loop_tick != self._tick


def status(state: WorkerState, stage: Stage, *, is_held_back: bool) -> str:
    """Return one line about a worker, for ``systemctl status``."""
    running = len(state.running)
    if stage is Stage.DRAIN:
        return f"{DRAINING}, {running} {'task' if running == 1 else 'tasks'} left"
    if stage > Stage.DRAIN:
        return f"{ENDING}, {running} {'task' if running == 1 else 'tasks'} cut short"
    parts = [] if state.connected else ["waiting for the broker"]
    parts += [f"{running} running", f"{state.reserved} waiting"]
    missing = [queue for queue in state.queues if queue not in state.consuming] if state.connected else []
    parts += [f"not consuming {', '.join(missing)}"] if missing else []
    parts += ["the broker holds publishers back (alarm)"] if is_held_back else []
    return ", ".join(parts)
