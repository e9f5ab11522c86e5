"""How do processes that share a lab's root keep out of each other's way?"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fleet.daemons.process import silent
from tests.hosts.lab.system import LabFailed

POLL_SECONDS = 0.1


@contextmanager
def locked(path: Path, *, timeout_seconds: float, report: Callable[[str], None] = silent) -> Iterator[None]:
    """Hold the lock file ``path`` alone; the kernel drops it if this process dies. Raises LabFailed."""
    deadline = time.monotonic() + timeout_seconds
    told = False
    while (handle := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise LabFailed(f"another process holds {path} for more than {timeout_seconds:g} s")
        if not told:
            report(f"waiting for another process that holds {path}")
            told = True
        time.sleep(POLL_SECONDS)
    with handle:
        yield


def try_lock(path: Path) -> IO[str] | None:
    """Return the open lock file if nobody else holds it; it is held until closed."""
    return _flock(path, fcntl.LOCK_EX)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock file ``path``; lookers do not disturb each other."""
    handle = _flock(path, fcntl.LOCK_SH)
    if handle is None:
        return True
    handle.close()
    return False


def _flock(path: Path, kind: int) -> IO[str] | None:
    handle = path.open("a")
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle
