"""Pools of real child processes, on an event loop that turns when it is told to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery.app.base import Celery
from celery.concurrency.prefork import TaskPool
from kombu.asynchronous.hub import Hub
from kombu.asynchronous.semaphore import LaxBoundedSemaphore


@contextmanager
def started(kind: type[TaskPool]) -> Iterator[TaskPool]:
    """Give a pool of one child, with the semaphore that a worker's requests wait at."""
    app = Celery("contract", set_as_current=False)
    hub = Hub()
    slots = LaxBoundedSemaphore(1)
    made = kind(1, app=app, threads=False, putlocks=False, semaphore=slots, initargs=(app, "contract"))
    made.start()
    made.register_with_event_loop(hub)
    made.hub, made.slots = hub, slots
    yield made
    made.terminate()
    hub.close()


def turn(pool: TaskPool, *, until: Callable[[], object]) -> None:
    """Let the event loop turn until something holds, for half a minute at most."""
    deadline = time.monotonic() + 30
    loop = pool.hub.create_loop()
    pool.hub.timer.call_repeatedly(0.05, lambda: None)
    while not until():
        assert time.monotonic() < deadline
        next(loop)
