"""How are a pool's child processes ended from outside the event loop, and when are they really gone?"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

#: how often a hurry is looked for
POLL_SECONDS = 0.1


def pool_pids(pool: Any) -> tuple[int, ...]:
    """Return the process ids of a prefork pool's children; other pools have none."""
    processes = getattr(getattr(pool, "_pool", None), "_pool", None) or ()
    return tuple(process.pid for process in tuple(processes) if process.pid)


def end_children(
    pids: Iterable[int], *, grace_seconds: float, hurry: Callable[[], bool] = lambda: False
) -> bool:
    """Send SIGTERM to children of this process and SIGKILL to those that are left after ``grace_seconds``.

    Return whether all are gone; ``hurry`` may shorten the wait.
    """
    descriptors = _opened(pids)
    try:
        _signal(descriptors, signal.SIGTERM)
        if not _await_gone(descriptors, grace_seconds, hurry):
            _signal(descriptors, signal.SIGKILL)
        return _await_gone(descriptors, grace_seconds, hurry)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _opened(pids: Iterable[int]) -> list[int]:
    # A descriptor, unlike a number, cannot come to mean another process.
    opened = []
    for pid in pids:
        with suppress(ProcessLookupError):
            opened.append(os.pidfd_open(pid))
    return opened


def _signal(descriptors: Iterable[int], number: signal.Signals) -> None:
    for descriptor in descriptors:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


def _await_gone(descriptors: Iterable[int], seconds: float, hurry: Callable[[], bool]) -> bool:
    left = set(descriptors)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline and not hurry():
        gone, _, _ = select.select(list(left), [], [], POLL_SECONDS)
        left.difference_update(gone)
    return not left
