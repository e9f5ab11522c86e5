"""What have the pool's child processes said that nobody has read yet?

Celery takes it in on its event loop. When the broker's connection is lost, it leaves the loop and decides at
once which runs to stop. A run that has ended by then must count as ended, not be taken for one cut short; and
one that has begun must be known: Celery forgets a task that no child has accepted, and it would run unseen.
"""

import select
import time
from typing import Any

from fleet.worker.pool import DirectPool

#: how long a child may take to accept the task that was written to it
ACCEPT_SECONDS = 1.0


def take_in(pool: Any) -> None:
    """Take in what the children of a prefork ``pool`` have said so far; other pools have none.

    Waits for tasks that are on their way into a child, for at most ``ACCEPT_SECONDS``.
    """
    children = getattr(pool, "_pool", None)
    if not isinstance(children, DirectPool):
        return
    # As Celery does in a moment: else what waits for a slot would begin as soon as a run has ended.
    children._putlock.clear()
    deadline = time.monotonic() + ACCEPT_SECONDS
    _take(children, wait_seconds=0)
    while _are_on_their_way(children) and (left := deadline - time.monotonic()) > 0:
        _take(children, wait_seconds=left)


def _take(pool: DirectPool, *, wait_seconds: float) -> None:
    poller = select.poll()
    for descriptor in pool._fileno_to_outq:
        poller.register(descriptor, select.POLLIN)
    readable = poller.poll(wait_seconds * 1000)
    while readable:
        for descriptor, _ in readable:
            if not pool._result_handler.read(descriptor):
                poller.unregister(descriptor)
        readable = poller.poll(0)


def _are_on_their_way(pool: DirectPool) -> bool:
    """Tell whether a task has been written to a child that lives and has not accepted it yet."""
    return any(
        not job._accepted and job._write_to is not None and job._write_to._is_alive()
        for job in tuple(pool._cache.values())
    )
