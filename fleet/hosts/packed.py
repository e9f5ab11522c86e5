"""How are files packed so that pieces of an archive, put one after the other, are an archive? Pure.

Every piece is gzip of tar entries. All is root's, has one time, and can be read by everybody and written by
root alone. The time is that of no file that somebody edits, and compiled modules are valid for it.
"""

import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

#: the first moment that a wheel knows
MOMENT = 315_532_800
#: what ends an archive
END = gzip.compress(bytes(2 * tarfile.BLOCKSIZE), mtime=0)
# Of 83 MB, level 1 makes 29 MB in half the time, and level 9 as much as this in three times as long.
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive."""

    path: str
    content: bytes
    executable: bool = False


def piece(members: Iterable[Member]) -> bytes:
    """Return ``members`` and the directories that they lie in as a piece of an archive, sorted."""
    ordered = sorted(members, key=lambda member: member.path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for directory in sorted({above for member in ordered for above in _above(member.path)}):
            entry = _entry(directory, mode=0o755)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for member in ordered:
            entry = _entry(member.path, mode=0o755 if member.executable else 0o644)
            entry.size = len(member.content)
            archive.addfile(entry, io.BytesIO(member.content))
        length = archive.offset
    return gzip.compress(buffer.getvalue()[:length], compresslevel=_LEVEL, mtime=0)


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _entry(path: str, *, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.mtime, entry.uname, entry.gname = mode, MOMENT, "root", "root"
    return entry
