"""How are keys recorded so that a reader sees the old file or the new one, and no second writer is lost?"""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provisioning.errors import HostAccessRefused
from provisioning.hosts.known_hosts import HostKey, with_key

#: another run holds the lock while it writes one file
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A key to be recorded."""

    #: the host's name in known_hosts files
    known_as: str
    key: HostKey
    #: what the operator calls the host
    comment: str


def record(path: Path, keys: Sequence[Recorded]) -> None:
    """Write ``keys`` to the known_hosts file ``path``, each in place of the host's other ones there.

    Raises HostAccessRefused when the file cannot be written, or another run writes it all the time.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            for each in keys:
                text = with_key(text, each.known_as, each.key, comment=each.comment)
            _replace(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise HostAccessRefused(f"cannot record keys in {path}: {error}") from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    # The directory is what is locked: the file is replaced, and a lock file would stay behind.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise HostAccessRefused(
                    f"another run is recording keys in {directory}", hint="try again when it has ended"
                ) from None
            time.sleep(0.05)  # flock has no bounded wait
        else:
            return


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
