"""How do files get onto a host's disk and off it, whether it runs or not?

As a tar stream to a `tar` on the host, or over its layers while it is off: names of users, links and what
was deleted mean what they mean there.
"""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tests.hosts.lab.system import LabFailed

UNPACK = ("tar", "--extract", "--preserve-permissions", "--same-owner", "--directory=/")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to be written; the directories above it are made."""

    #: absolute path on the host
    path: str
    content: bytes
    mode: int = 0o644
    #: user of the host, and its group of the same name
    owner: str = "root"


def archive(files: Iterable[File]) -> bytes:
    """Return ``files`` as a tar stream for ``UNPACK``. Raises LabFailed for a path that is not absolute."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for file in files:
            entry = tarfile.TarInfo(_relative(file.path))
            entry.size = len(file.content)
            entry.mode = file.mode
            entry.uname = entry.gname = file.owner
            tar.addfile(entry, io.BytesIO(file.content))
    return stream.getvalue()


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise LabFailed(f"`{path}` is not an absolute path on a host")
    return str(pure.relative_to("/"))
