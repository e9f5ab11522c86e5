"""What lies on the disk of a host that is off?

A host's disk is its own upper layer over the read-only layers of its image. While it is off nothing is
mounted, so its files are read and written where they lie; nothing here ever follows a link or a mount out of
the layers.
"""

import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.hosts.lab.system import LabFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a host has from its first boot on."""

    #: absolute path on the host
    path: str
    content: bytes
    mode: int = 0o644
    #: a user of the image, whose group it gets, too
    owner: str = "root"


class Disk:
    """The writable layer in ``directory`` over ``lowers``, topmost first."""

    def __init__(self, directory: Path, lowers: Sequence[Path]) -> None:
        self.upper = directory / "upper"
        self.work = directory / "work"
        #: where it is mounted, in the host's own mount namespace only
        self.mounted = directory / "mounted"
        self.lowers = tuple(lowers)

    @property
    def options(self) -> str:
        """The options of the overlay mount."""
        return f"lowerdir={':'.join(map(str, self.lowers))},upperdir={self.upper},workdir={self.work}"

    def create(self) -> None:
        """Make it new and empty."""
        for place in (self.upper, self.work, self.mounted):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        # The root directory takes its attributes from the topmost layer, which is this one.
        self.upper.chmod(0o755)

    def write(self, file: File) -> None:
        """Put ``file`` onto the disk, making the directories above it."""
        inside = _relative(file.path)
        self._make_directories(inside.parent)
        target = self.upper / inside
        target.unlink(missing_ok=True)
        user, group = self.owner(file.owner)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(file.content)
            os.fchown(handle.fileno(), user, group)
            os.fchmod(handle.fileno(), file.mode)

    def read(self, path: str) -> bytes:
        """Return the content of the regular file ``path``. Raises FileNotFoundError."""
        inside = _relative(path)
        for layer in (self.upper, *self.lowers):
            found = layer / inside
            if found.exists() or found.is_symlink():
                if not stat.S_ISREG(found.lstat().st_mode):
                    break
                return found.read_bytes()
        raise FileNotFoundError(path)

    def owner(self, name: str) -> tuple[int, int]:
        """Return the numbers of user ``name`` and its group. Raises LabFailed."""
        for line in self.read("/etc/passwd").decode().splitlines():
            fields = line.split(":")
            if fields[0] == name:
                return int(fields[2]), int(fields[3])
        raise LabFailed(f"no user `{name}` in the image")

    def _make_directories(self, inside: PurePosixPath) -> None:
        for above in reversed((inside, *inside.parents[:-1])):
            made = self.upper / above
            if made.is_symlink():
                raise LabFailed(f"/{above} is a link; name the place it leads to")
            if not made.exists():
                self._make_directory(above)

    def _make_directory(self, inside: PurePosixPath) -> None:
        """Make a directory with the rights that it has in the layer below, or with the usual ones."""
        made = self.upper / inside
        made.mkdir(mode=0o755)
        for layer in self.lowers:
            below = layer / inside
            if below.is_symlink():
                made.rmdir()
                raise LabFailed(f"/{inside} is a link; name the place it leads to")
            if below.exists():
                status = below.stat()
                os.chown(made, status.st_uid, status.st_gid)
                made.chmod(stat.S_IMODE(status.st_mode))
                return


def _relative(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise LabFailed(f"`{path}` is not an absolute path on a host")
    return pure.relative_to("/")
