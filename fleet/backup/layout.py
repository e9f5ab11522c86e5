"""Where do the parts of a backup lie below its destination?

::

    DESTINATION/.fleet-destination         this is the disk that backups go to
    DESTINATION/HOST/BACKUP/lock           held while a run, or an rsync that it left behind, writes
                           /snapshots/NAME/manifest.json, tree/etc/hosts, …
                           /latest         → snapshots/NAME of the newest good one
                           /.incoming/TOKEN   a run that has not finished
                           /.replaced/TOKEN   what a restore in place has overwritten
                           /.trash/NAME    on its way out
                           /tree, /manifest.json   the one copy of a mirror
"""

import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import UsageError

MARKER = ".fleet-destination"
TREE = "tree"
MANIFEST = "manifest.json"
_TOKEN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The places of one backup of one host."""

    #: ``destination/host/backup``
    root: Path

    @property
    def lock(self) -> Path:
        """File whose lock a writer holds."""
        return self.root / "lock"

    @property
    def snapshots(self) -> Path:
        """Directory of finished snapshots."""
        return self.root / "snapshots"

    @property
    def latest(self) -> Path:
        """Symbolic link to the newest good snapshot, for people."""
        return self.root / "latest"

    @property
    def incoming(self) -> Path:
        """Directory of unfinished runs."""
        return self.root / ".incoming"

    @property
    def replaced(self) -> Path:
        """Directory of what restores in place have overwritten."""
        return self.root / ".replaced"

    @property
    def trash(self) -> Path:
        """Directory of what is being deleted."""
        return self.root / ".trash"

    @property
    def mirror_tree(self) -> Path:
        """The one copy of a mirror."""
        return self.root / TREE

    @property
    def mirror_manifest(self) -> Path:
        """The manifest of a mirror's one copy."""
        return self.root / MANIFEST


def layout(*, destination: str, host: str, backup: str) -> Layout:
    """Return the places of ``backup`` of ``host`` below ``destination``."""
    return Layout(root=Path(destination, host, backup))


def token(task_id: str) -> str:
    """Return a file name for ``task_id``, which comes from a message: itself when harmless, else a hash."""
    if _TOKEN.fullmatch(task_id):
        return task_id
    return "x" + hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def path_parts(path: str) -> tuple[str, ...]:
    """Return the names that lead from a snapshot's tree to ``path``; none means the whole tree.

    ``/etc/hosts`` and ``etc/hosts`` are the same. Raises UsageError for a path that could lead elsewhere.
    """
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in path:
        raise UsageError(
            f"path {path!r} may hold neither `..` nor a NUL character",
            hint="give the path as it was on the host, such as `/etc/hosts`",
        )
    return parts


def host_path(parts: tuple[str, ...]) -> str:
    """Return the absolute path on the host for the names in ``parts``."""
    return posixpath.join("/", *parts)
