"""Who may see and use the outbox's file? Its owner alone; anything else is refused, never repaired silently.

An existing file is looked at, never opened here: closing it again would end the locks that SQLite holds on it
in this process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet.errors import OutboxBusy, OutboxUnusable

_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_OF_OTHERS = 0o077
_WRITABLE_BY_OTHERS = 0o022
#: longer than any file system's clock stands still (two seconds on FAT), and than clocks are set back by NTP
_TICK_NS = 3_000_000_000

#: device, inode, size and times of a file
FileState = tuple[int, int, int, int, int]


def ensure_private_file(path: Path) -> None:
    """Create ``path`` and the directories above it where they are missing, for their owner only.

    Raises OutboxUnusable when somebody else could read the file or put another one in its place.
    """
    try:
        _make_directory(path.parent)
        _check_directory(path.parent)
        try:
            _check_file(path, path.lstat())
        except FileNotFoundError:
            _create(path)
    except OSError as error:
        raise unusable(path, error.strerror or str(error)) from error


def require_private_file(path: Path) -> bool:
    """Tell whether ``path`` exists; creates nothing, and raises as ``ensure_private_file`` does."""
    try:
        found = path.lstat()
        _check_directory(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(path, error.strerror or str(error)) from error
    _check_file(path, found)
    return True


def settled_state(path: Path) -> FileState | None:
    """Return what changes whenever the file does, or None while no such thing can be told.

    Looking at a file costs a tiny part of opening it through SQLite. What was committed is in the -wal file
    until it has been written back into the file, so while there is one, the file itself tells nothing. Nor
    does it while another change in the same tick of the clock would leave its times as they are.
    """
    try:
        path.with_name(f"{path.name}-wal").lstat()
    except FileNotFoundError:
        with suppress(OSError):
            found = path.lstat()
            if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _TICK_NS:
                return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    except OSError:
        pass
    return None


@contextmanager
def hold_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock that is the file ``path``; it goes with the process, however that ends.

    Raises OutboxBusy when another process holds it and ``wait`` is False.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(path, flags, _PRIVATE_FILE)
    except OSError as error:
        raise unusable(path, error.strerror or str(error)) from error
    try:
        _lock(lock, path, wait=wait)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, path: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise OutboxBusy(
            f"another process forwards this outbox: it holds the lock `{path}`",
            hint="let it finish, and look again with `fleet outbox status`",
        ) from error


def unusable(path: Path, reason: str, *, hint: str | None = None) -> OutboxUnusable:
    """Return the error for an outbox at ``path`` that cannot be used."""
    return OutboxUnusable(
        f"outbox `{path}` cannot be used: {reason}", hint=hint or f"check `ls -ld -- {path.parent} {path}`"
    )


def _make_directory(directory: Path) -> None:
    """Create ``directory`` durably: a new one is an entry in the one above it."""
    if directory.exists():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    _flush_directory(directory.parent)


def _create(path: Path) -> None:
    """Create ``path`` for its owner only, or leave the file that another one has made meanwhile.

    It is closed before it gets its name: another thread may open it through SQLite from then on. SQLite gives
    its -wal and -shm files the mode of the file itself.
    """
    descriptor, unnamed = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.new-")
    os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(unnamed, path)
    finally:
        Path(unnamed).unlink()
    _check_file(path, path.lstat())
    _flush_directory(path.parent)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_directory(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise unusable(directory, f"the directory belongs to user {found.st_uid}", hint=_own_hint())
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise unusable(
            directory,
            "others may write to the directory, and so put another file in its place",
            hint=f"use a directory of its own, or `chmod go-w -- {directory}`",
        )


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise unusable(path, "it is no regular file")
    if found.st_uid != os.geteuid():
        raise unusable(path, f"it belongs to user {found.st_uid}", hint=_own_hint())
    if found.st_mode & _OF_OTHERS:
        raise unusable(path, "others may read or write it", hint=f"`chmod 600 -- {path}`")


def _own_hint() -> str:
    return "run this as that user (`sudo -u USER`), or use another outbox with `--outbox-file`"
