"""Does this worker live, does it consume, and what is it doing? Read from outside the event loop's thread."""

import platform
import time
from collections.abc import Callable
from typing import Any

import celery
from celery.worker import state

import fleet
from fleet.metrics.state import RunningTask, Versions, WorkerState
from fleet.worker.context import WorkerContext

#: an event loop that has not turned for this long hangs; a blocked publish of a reply may take half of it
STALE_SECONDS = 60.0
#: a set that changes while it is copied is copied again
COPIES = 5


class WorkerHealth:
    """What ``/healthz``, ``/readyz`` and ``/metrics`` say about one worker."""

    def __init__(self, context: WorkerContext, *, clock: Callable[[], float] = time.time) -> None:
        self._context = context
        self._clock = clock
        self._started = clock()
        self._consumer: Any = None
        self.draining = False
        self.lost: Callable[[], int] = lambda: 0

    def watch(self, consumer: Any) -> None:
        """Look at ``consumer`` from now on; called when the worker has become ready."""
        self._consumer = consumer

    def alive(self) -> tuple[bool, dict[str, object]]:
        """Tell whether the process should go on living: its event loop turns, or it waits for the broker.

        A broker that is away is no reason to restart a worker, whose tasks go on meanwhile.
        """
        tick = self._consumer.loop_tick if self._consumer else None
        age = None if tick is None else round(self._clock() - tick, 3)
        hangs = self._connected() and age is not None and age > STALE_SECONDS
        return not hangs, {"loop_tick_age_seconds": age, "connected": self._connected()}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Tell whether the broker delivers every queue of this worker to it."""
        consuming = self._consuming()
        missing = [queue.name for queue in self._context.queues if queue.name not in consuming]
        is_ready = self._connected() and not missing and not self.draining
        return is_ready, {"consuming": list(consuming), "missing": missing, "draining": self.draining}

    def snapshot(self) -> WorkerState:
        """Return what the worker does at this moment."""
        consumer = self._consumer
        running = _copy(state.active_requests)
        reserved = len(_copy(state.reserved_requests)) - len(running)
        pool = consumer.pool if consumer else None
        qos = consumer.qos if consumer else None
        return WorkerState(
            versions=Versions(
                fleet=fleet.__version__,
                celery=celery.__version__,
                python=platform.python_version(),
                pool=self._context.worker.pool.value,
            ),
            started=self._started,
            pool_size=pool.num_processes if pool else 0,
            running=tuple(
                RunningTask(task=each.task.name, queue=each.queue, started=each.time_start)
                for each in running
                if each.time_start is not None
            ),
            reserved=max(0, reserved),
            prefetch_limit=(qos.value or 0) if qos else 0,
            queues=tuple(queue.name for queue in self._context.queues),
            consuming=self._consuming(),
            connected=self._connected(),
            reconnects=max(0, consumer.restart_count) if consumer else 0,
            loop_tick=consumer.loop_tick if consumer else None,
            child_exits=self.lost(),
            draining=self.draining,
        )

    def _connected(self) -> bool:
        connection = getattr(self._consumer, "connection", None)
        return bool(connection is not None and connection.connected)

    def _consuming(self) -> tuple[str, ...]:
        consumer = getattr(self._consumer, "task_consumer", None)
        tags: dict[str, str] = dict(getattr(consumer, "_active_tags", {}))
        return tuple(queue.name for queue in self._context.queues if queue.name in tags)


def _copy(requests: Any) -> tuple[Any, ...]:
    for _ in range(COPIES):
        try:
            return tuple(requests)
        except RuntimeError:
            # The event loop has added or removed one meanwhile.
            continue
    return ()
