"""How do several runs, such as those of Ansible's forks, share the cache on the control machine?"""

import fcntl
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held:
    """A file that no run drops while this lives, or until it is closed.

    Raises OSError where the file is not there, or has just been dropped.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        #: let the file go; more than once does no harm
        self.close = weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        found = os.fstat(descriptor)
        #: of the file, in bytes
        self.size = found.st_size
        if not found.st_nlink:
            self.close()
            raise FileNotFoundError(path)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Let one run at a time build, so that the others find what it has built."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def drop(path: Path) -> bool:
    """Remove ``path`` unless somebody holds it; return whether it is gone."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def write_whole(place: Path, content: bytes) -> None:
    """Write ``content`` to ``place`` in one moment, and make its directory where there is none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=place.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(part).replace(place)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
