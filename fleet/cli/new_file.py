"""How does a command write a file that may hold secrets? Whole or not at all, for its owner, over nothing."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fleet.errors import FleetError, UsageError

_MODE = 0o600
_NAMELESS = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
_NAMED = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
#: how a file system says that it has no files without a name
_NAMES_ONLY = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


@contextmanager
def new_file(path: Path, *, option: str) -> Iterator[IO[str]]:
    """Give a file that appears as ``path`` when all is written, unless something is there then.

    Until then it has no name where the file system can do that, so that even a kill leaves nothing behind.
    Raises UsageError when ``path`` exists or its directory cannot be written to, FleetError when the file
    cannot be written; both name ``option``.
    """
    if os.path.lexists(path):
        raise _exists(path, option)
    with _directory(path.parent, path, option) as directory:
        descriptor, name = _opened(path, directory, option)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
                _appear(name or f"/proc/self/fd/{descriptor}", path, directory)
        except FileExistsError as error:
            raise _exists(path, option) from error
        except OSError as error:
            raise FleetError(f"{option}: `{path}` cannot be written: {error.strerror}") from error
        finally:
            if name is not None:
                os.unlink(name, dir_fd=directory)


@contextmanager
def _directory(directory: Path, path: Path, option: str) -> Iterator[int]:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path, option, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: Path, directory: int, option: str) -> tuple[int, str | None]:
    """Open a file of the directory's file system; return its name, too, if it must have one."""
    try:
        try:
            return os.open(".", _NAMELESS, _MODE, dir_fd=directory), None
        except OSError as error:
            if error.errno not in _NAMES_ONLY:
                raise
        # A name of its own: another run at the same time has another one.
        name = f".{path.name}.{secrets.token_hex(4)}.part"
        return os.open(name, _NAMED, _MODE, dir_fd=directory), name
    except OSError as error:
        raise _unwritable(path, option, error) from error


def _appear(source: str, path: Path, directory: int) -> None:
    # A link, unlike a renaming, never takes the place of a file.
    os.link(source, path.name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=True)
    os.fsync(directory)


def _exists(path: Path, option: str) -> UsageError:
    return UsageError(f"{option}: `{path}` exists already", hint="name another file")


def _unwritable(path: Path, option: str, error: OSError) -> UsageError:
    return UsageError(f"{option}: `{path}` cannot be written: {error.strerror}")
