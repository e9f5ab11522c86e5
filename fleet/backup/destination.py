"""May a copy of these sources be written to this destination?

Every check runs before anything is copied; each refusal names the path and the next command.
"""

import hashlib
import os
import posixpath
import shlex
import stat
from pathlib import Path

from fleet.backup.excludes import is_excluded, is_inside
from fleet.backup.failure import BackupFailed, BackupRefused
from fleet.backup.layout import MARKER, Layout, layout
from fleet.model import Backup

MIN_FREE_BYTES = 64 * 1024 * 1024
MIN_FREE_INODES = 1000


def check_sources(backup: Backup) -> None:
    """Raise BackupRefused for a source that is missing, behind a symbolic link, or holds the destination."""
    for source in backup.sources:
        try:
            mode = os.lstat(source).st_mode
        except OSError as error:
            raise BackupRefused(
                f"source `{source}` of backup `{backup.name}` cannot be read: {error.strerror}",
                hint=f"check `ls -ld {shlex.quote(source)}` on the host",
            ) from error
        real = os.path.realpath(source)
        if stat.S_ISLNK(mode) or real != posixpath.normpath(source):
            raise BackupRefused(
                f"source `{source}` of backup `{backup.name}` leads through a symbolic link",
                hint=f"name the path itself: `{real}`",
            )
        _check_apart(backup, source)


def prepare(backup: Backup, *, host: str, state_dir: Path) -> Layout:
    """Check the destination, make the backup's own directories in it, and return its places.

    The destination itself must be there: a disk that is not mounted must not become a directory of the
    root file system. Raises BackupRefused.
    """
    destination = Path(backup.destination)
    _check_directory(destination)
    _check_marker(destination, state_dir)
    places = layout(destination=backup.destination, host=host, backup=backup.name)
    own = [destination / host, places.root, places.incoming, places.trash]
    own += [places.snapshots] if backup.kind == "snapshot" else [places.mirror_tree]
    for directory in own:
        make_own_directory(directory)
    return places


def check_room(places: Layout, *, hard_links: bool) -> None:
    """Raise BackupRefused when the disk is as good as full, or cannot hold the hard links it needs.

    Called with the lock held: the probe writes files.
    """
    if _has_no_space(places.root):
        free = os.statvfs(places.root)
        raise BackupRefused(
            f"`{places.root}` has {free.f_bavail * free.f_frsize} bytes and {free.f_favail} inodes left",
            hint="make room, or keep fewer snapshots (`retention`)",
        )
    if hard_links:
        _check_hard_links(places)


def make_own_directory(directory: Path) -> None:
    """Make ``directory`` for this user alone, or check that it is one already.

    Raises BackupRefused when it cannot be made, is not a directory, or belongs to someone else.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise BackupRefused(
            f"directory `{directory}` cannot be made: {error.strerror}",
            hint=f"check `ls -ld {shlex.quote(str(directory.parent))}`",
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise BackupRefused(
            f"`{directory}` is not a directory of the user that runs this (uid {os.geteuid()})",
            hint=f"check `ls -ld {shlex.quote(str(directory))}`",
        )


def _has_no_space(directory: Path) -> bool:
    """Tell whether the file system of ``directory`` is as good as full, in bytes or in inodes."""
    free = os.statvfs(directory)
    free_bytes = free.f_bavail * free.f_frsize
    # Some file systems (btrfs) have no fixed number of inodes and report 0 of 0.
    return free_bytes < MIN_FREE_BYTES or (free.f_files > 0 and free.f_favail < MIN_FREE_INODES)


def _check_apart(backup: Backup, source: str) -> None:
    if is_inside(backup.destination, source) and not is_excluded(backup.destination, backup.excludes):
        raise BackupRefused(
            f"destination `{backup.destination}` of backup `{backup.name}` lies inside its source `{source}`",
            hint=f'add "{backup.destination}" to `excludes`, or choose another destination',
        )
    if is_inside(source, backup.destination):
        raise BackupRefused(
            f"source `{source}` of backup `{backup.name}` lies inside its destination `{backup.destination}`",
            hint="choose another destination",
        )


def _check_directory(destination: Path) -> None:
    try:
        found = destination.lstat()
    except OSError as error:
        raise BackupRefused(
            f"destination `{destination}` cannot be used: {error.strerror}",
            hint=f"mount its disk, or make it: `install -d -m 0700 {shlex.quote(str(destination))}`",
        ) from error
    real = os.path.realpath(destination)
    if stat.S_ISLNK(found.st_mode) or real != posixpath.normpath(destination):
        raise BackupRefused(
            f"destination `{destination}` leads through a symbolic link",
            hint=f"name the directory itself: `{real}`",
        )
    if not stat.S_ISDIR(found.st_mode):
        raise BackupRefused(f"destination `{destination}` is not a directory", hint="name a directory")


def _check_marker(destination: Path, state_dir: Path) -> None:
    """Recognise the disk: once used, a destination without its marker is a disk that is not mounted."""
    marker = destination / MARKER
    # Asked first: another backup that starts at this moment makes the marker, then remembers it.
    is_known = _memory(destination, state_dir).exists()
    if marker.exists():
        _remember(destination, state_dir)
        return
    if is_known:
        raise BackupRefused(
            f"destination `{destination}` has lost its marker `{MARKER}`: its disk may not be mounted",
            hint=f"mount it; if this is a new disk, run `touch {shlex.quote(str(marker))}`",
        )
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise BackupRefused(
            f"destination `{destination}` is not writable: {error.strerror}",
            hint=f"check `ls -ld {shlex.quote(str(destination))}` and the user that runs the worker",
        ) from error
    _remember(destination, state_dir)


def _memory(destination: Path, state_dir: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(destination)).hexdigest()[:16]
    return state_dir / "destinations" / digest


def _remember(destination: Path, state_dir: Path) -> None:
    memory = _memory(destination, state_dir)
    try:
        for directory in (state_dir, memory.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory.write_text(f"{destination}\n", encoding="utf-8")
    except OSError as error:
        raise BackupFailed(
            f"state directory `{state_dir}` cannot be written: {error.strerror}",
            hint=f"check `ls -ld {shlex.quote(str(state_dir))}`",
        ) from error


def _check_hard_links(places: Layout) -> None:
    first, second = places.incoming / ".probe", places.incoming / ".probe-link"
    try:
        first.touch()
        second.unlink(missing_ok=True)
        second.hardlink_to(first)
    except OSError as error:
        raise BackupRefused(
            f"`{places.root}` cannot hold hard links, which snapshots need: {error.strerror}",
            hint='choose another file system, or `kind = "mirror"`',
        ) from error
    finally:
        second.unlink(missing_ok=True)
        first.unlink(missing_ok=True)
