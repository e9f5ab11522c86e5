"""Which copies lie on this disk, and how does one join or leave them, never looking whole when it is not?"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.backup.disk import delete_tree, flush_directory, flush_file_system, write_durably
from fleet.backup.failure import BackupFailed, BackupPostponed
from fleet.backup.layout import MANIFEST, TREE, Layout
from fleet.backup.manifest import Manifest, ManifestInvalid, parse, render
from fleet.backup.snapshots import is_snapshot_name

_RUN = "run.json"
#: trees of interrupted runs that are kept for the next one
_KEPT_LEFTOVERS = 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def copies(places: Layout, *, kind: str) -> tuple[Manifest, ...]:
    """Return the manifests of a backup of ``kind`` (``snapshot`` or ``mirror``), oldest first.

    Raises BackupFailed when they may not be read.
    """
    if kind == "snapshot":
        return snapshots(places)
    copy = mirror(places)
    return () if copy is None else (copy,)


def snapshots(places: Layout) -> tuple[Manifest, ...]:
    """Return the manifests of the finished snapshots, oldest first; anything else there is passed over.

    Raises BackupFailed when they may not be read.
    """
    try:
        names = sorted(entry.name for entry in places.snapshots.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except PermissionError as error:
        raise _unreadable(places.snapshots) from error
    read = {name: _read(places.snapshots / name / MANIFEST) for name in names if is_snapshot_name(name)}
    found = [manifest for name, manifest in read.items() if manifest and manifest.snapshot == name]
    return tuple(sorted(found, key=lambda manifest: (manifest.started, manifest.snapshot)))


def mirror(places: Layout) -> Manifest | None:
    """Return the manifest of the mirror, or None when no run of it has finished."""
    return _read(places.mirror_manifest)


def tree_of(places: Layout, manifest: Manifest) -> Path:
    """Return the directory that stands for the host's root in this copy."""
    if manifest.kind == "mirror":
        return places.mirror_tree
    return places.snapshots / manifest.snapshot / TREE


@contextmanager
def in_use(places: Layout, manifest: Manifest) -> Iterator[int]:
    """Keep a copy from being pruned, or a mirror from being written; yields the lock for rsync to inherit.

    Raises BackupPostponed when a mirror is being written, BackupFailed when the snapshot has just gone.
    """
    path = places.lock if manifest.kind == "mirror" else places.snapshots / manifest.snapshot / MANIFEST
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise BackupFailed(
            f"snapshot `{manifest.snapshot}` cannot be opened: {error.strerror}",
            hint="run `fleet backup list` to see the snapshots",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupPostponed(
                f"`{manifest.snapshot}` of backup `{manifest.backup}` is being written or pruned",
                hint="wait until that run has ended",
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """The place of a run that has not finished, and what earlier runs have left for it."""

    directory: Path
    #: trees of interrupted runs of this boot, newest first; whole files in them need no second copy
    leftovers: tuple[Path, ...]

    @property
    def tree(self) -> Path:
        """The directory that stands for the host's root."""
        return self.directory / TREE


def begin(places: Layout, *, run_token: str) -> Incoming:
    """Make an empty place for a run; call with the lock held.

    Always a fresh directory: writing into one whose files are hard-linked with a finished snapshot would
    change that snapshot's owners and modes.
    """
    directory = places.incoming / run_token
    if directory.exists():
        directory.rename(_free_name(places.incoming, f"{run_token}.interrupted"))
    boot = _BOOT_ID.read_text(encoding="ascii").strip()
    leftovers: list[Path] = []
    for other in sorted(places.incoming.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True):
        # After a crash of the machine, a file may have its size and time, but not its content.
        if _boot_of(other) == boot and (other / TREE).is_dir() and len(leftovers) < _KEPT_LEFTOVERS:
            leftovers.append(other / TREE)
        else:
            discard(places, other)
    (directory / TREE).mkdir(mode=0o700, parents=True)
    write_durably(directory / _RUN, json.dumps({"boot_id": boot, "pid": os.getpid()}))
    return Incoming(directory=directory, leftovers=tuple(leftovers))


def publish(places: Layout, incoming: Incoming, manifest: Manifest) -> None:
    """Turn an unfinished run into a snapshot in one step; what is complete becomes ``latest``."""
    (incoming.directory / _RUN).unlink(missing_ok=True)
    write_durably(incoming.directory / MANIFEST, render(manifest))
    flush_file_system(incoming.directory)
    incoming.directory.rename(places.snapshots / manifest.snapshot)
    flush_directory(places.snapshots)
    if manifest.is_good:
        point_latest(places, manifest.snapshot)
    for leftover in incoming.leftovers:
        discard(places, leftover.parent)


def point_latest(places: Layout, name: str) -> None:
    """Make ``latest`` lead to the snapshot ``name``, with no moment at which it leads nowhere."""
    fresh = places.root / ".latest"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(places.snapshots.name, name))
    fresh.replace(places.latest)
    flush_directory(places.root)


def prune(places: Layout, names: tuple[str, ...]) -> tuple[str, ...]:
    """Remove these snapshots and return which ones went; one that is being restored from stays."""
    return tuple(name for name in names if _retire(places, name))


def discard(places: Layout, directory: Path) -> None:
    """Take ``directory`` out of sight at once, then delete it."""
    target = _free_name(places.trash, directory.name)
    directory.rename(target)
    delete_tree(target)


def empty_trash(places: Layout) -> None:
    """Delete what an interrupted deletion has left."""
    for path in places.trash.iterdir():
        delete_tree(path)


def _retire(places: Layout, name: str) -> bool:
    manifest = places.snapshots / name / MANIFEST
    with suppress(FileNotFoundError):
        descriptor = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            discard(places, places.snapshots / name)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True
    return False


def _read(path: Path) -> Manifest | None:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise _unreadable(path) from error
    except (OSError, UnicodeDecodeError, ManifestInvalid):
        return None


def _unreadable(path: Path) -> BackupFailed:
    return BackupFailed(f"`{path}` may not be read", hint="run it as the user that the worker runs as")


def _boot_of(directory: Path) -> str | None:
    try:
        record = json.loads((directory / _RUN).read_text(encoding="utf-8"))
        return str(record["boot_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _free_name(directory: Path, name: str) -> Path:
    number = 0
    while (directory / f"{name}.{number}").exists():
        number += 1
    return directory / f"{name}.{number}"
