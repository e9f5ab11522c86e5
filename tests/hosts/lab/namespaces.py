"""How does a command run over the layers of an image, seen by nobody else and outlived by nothing?

Mounts are made in namespaces of the command's own. It dies with its parent, whatever it started dies with
it, and the mounts go with the last of them: after the worst of ends there is nothing to clean up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.process import SETPRIV

#: what follows gets SIGKILL when the thread that started it ends
MORTAL = (SETPRIV, "--pdeathsig", "KILL", "--")
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
#: $1 options of the overlay, $2 its mount point; then becomes what follows
MOUNT = """\
set -eu
mount -t overlay overlay -o "$1" "$2"
shift 2
exec "$@"
"""
#: the same with /proc inside, as programs in a chroot expect it
MOUNT_WITH_PROC = MOUNT.replace("shift 2", 'mount -t proc proc "$2/proc"\nshift 2')


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A writable directory over read-only ones."""

    #: topmost first
    lowers: tuple[Path, ...]
    upper: Path
    #: overlayfs's own, on the same file system as ``upper``
    work: Path
    #: where it is mounted, inside only
    mounted: Path

    @property
    def options(self) -> str:
        """The options of the mount."""
        return f"lowerdir={':'.join(map(str, self.lowers))},upperdir={self.upper},workdir={self.work}"

    def create(self) -> None:
        """Make the directories that are not there yet."""
        for place in (self.upper, self.work, self.mounted):
            place.mkdir(parents=True, exist_ok=True)
        # The root directory takes its rights from the topmost layer, which is this one.
        self.upper.chmod(0o755)

    def around(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return ``argv`` so that it sees the overlay, and that nobody else does; to be made mortal."""
        return (*ALONE, "sh", "-c", MOUNT, "sh", self.options, str(self.mounted), *argv)

    def within(self, *argv: str) -> tuple[str, ...]:
        """Return ``argv`` so that it runs inside the overlay, which is its root directory."""
        return self.beside("chroot", str(self.mounted), *argv)

    def beside(self, *argv: str) -> tuple[str, ...]:
        """Return ``argv`` so that it sees the overlay with a /proc in it, and dies with its parent."""
        mount = ("sh", "-c", MOUNT_WITH_PROC, "sh", self.options, str(self.mounted))
        return (*MORTAL, *ALONE, *mount, *argv)
