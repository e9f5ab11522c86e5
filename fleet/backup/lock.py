"""Who writes the copies of a backup of a host? One run at a time, and nobody while its rsync lives on."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.backup.failure import BackupPostponed
from fleet.backup.layout import Layout

#: an rsync whose process has died gets this long to end
ORPHAN_SECONDS = 15.0


@contextmanager
def hold_lock(places: Layout, *, task_id: str) -> Iterator[int]:
    """Hold the lock of one backup of one host; yields the descriptor that rsync must inherit.

    The lock is never released by hand, only by closing: while an rsync that was left behind lives, it
    stays held. Raises BackupPostponed when another run, or such an rsync, holds it.
    """
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, places.root)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"task_id": task_id, "pid": os.getpid()}).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, root: Path) -> None:
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            # A killed worker's task is delivered again at once, while its rsync is about to end.
            if time.monotonic() > deadline or (holder and _is_alive(holder.pid)):
                who = f"task {holder.task_id!r} (process {holder.pid})" if holder else "another process"
                raise BackupPostponed(
                    f"`{root}` is being written by {who}", hint="wait until that run has ended"
                ) from error
            time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    """Tell whether the process runs; a dead one that its parent has not yet collected does not."""
    try:
        status = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The state follows the program's name, which stands in brackets and may hold anything.
    return not status.rpartition(")")[2].strip().startswith("Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    task_id: str
    pid: int


def _holder(descriptor: int) -> _Holder | None:
    try:
        record = json.loads(os.pread(descriptor, 1000, 0))
        return _Holder(task_id=str(record["task_id"]), pid=int(record["pid"]))
    except (ValueError, KeyError, TypeError):
        return None
