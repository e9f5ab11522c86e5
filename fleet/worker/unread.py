"""What have the pool's child processes said that nobody has read yet?

Celery takes it in on its event loop. When the broker's connection is lost, it leaves the loop and decides at
once which runs to stop. A run that has ended by then must count as ended, not be taken for one cut short; and
one that has begun must be known: Celery forgets a task that no child has accepted, and it would run unseen.
"""

import select
import time
from collections.abc import Iterable
from inspect import isgenerator
from typing import Any

#: how long a child may take to accept the task that was written to it
ACCEPT_SECONDS = 1.0


def take_in(pool: Any, hub: Any) -> None:
    """Take in what the children of a prefork ``pool`` have said so far; other pools have none.

    Waits for tasks that are on their way into a child, for at most ``ACCEPT_SECONDS``.
    """
    processes = getattr(getattr(pool, "_pool", None), "_fileno_to_outq", None)
    if not processes:
        return
    deadline = time.monotonic() + ACCEPT_SECONDS
    _take(pool._pool, hub, processes, wait_seconds=0)
    while _are_on_their_way(pool._pool) and (left := deadline - time.monotonic()) > 0:
        _take(pool._pool, hub, processes, wait_seconds=left)


def _take(pool: Any, hub: Any, descriptors: Iterable[int], *, wait_seconds: float) -> None:
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    readable = [descriptor for descriptor, _ in poller.poll(wait_seconds * 1000)]
    while readable:
        for descriptor in readable:
            if not _read(pool, hub, descriptor):
                poller.unregister(descriptor)
        readable = [descriptor for descriptor, _ in poller.poll(0)]


def _read(pool: Any, hub: Any, descriptor: int) -> bool:
    """Read what a child has said, or what there is of a half-read message; tell whether it may say more."""
    half_read, _ = hub.readers.get(descriptor, (None, ()))
    if not isgenerator(half_read):
        pool.handle_result_event(descriptor)
        return descriptor in hub.readers
    try:
        next(half_read, None)
    except (OSError, EOFError):
        return False
    return True


def _are_on_their_way(pool: Any) -> bool:
    """Tell whether a task has been written to a child that lives and has not accepted it yet."""
    return any(
        not job._accepted and job._write_to is not None and job._write_to._is_alive()
        for job in tuple(pool._cache.values())
    )
