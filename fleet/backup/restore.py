"""How does a file or a tree come back from a copy, to where it may go and nowhere else?

A restore that arrives as a message carries a backup's name, a snapshot's name and a path inside it. Where it
is written to is decided here, from the fleet file.
"""

import os
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.backup import store
from fleet.backup.compare import InTheWay, differences, in_the_way, survey
from fleet.backup.destination import make_own_directory
from fleet.backup.failure import BackupFailed, BackupRefused
from fleet.backup.layout import token
from fleet.backup.manifest import SourceCopy
from fleet.backup.part import Part
from fleet.backup.rsync import Copy, Ending, ending
from fleet.backup.transfer import ProgressSink, find_rsync, transfer
from fleet.backup.verdict import stop_reason
from fleet.model import Backup

ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore that ended well: every file is there, and its content is the snapshot's."""

    backup: str
    host: str
    snapshot: str
    #: what was restored, as a path of the host
    path: str
    #: where it lies now
    target: str
    files: int
    directories: int
    #: symbolic links and other special files
    others: int
    #: size of the regular files
    bytes: int
    #: directory of what was overwritten; None where nothing was
    kept_in: str | None = None


def restore(part: Part, *, target: Path, on_progress: ProgressSink | None = None) -> Restored:
    """Bring ``part`` back below ``target``, a directory that is ours, and compare every file.

    Raises BackupFailed or BackupPostponed.
    """
    needed = survey(part.tree, part.parts).bytes
    free = os.statvfs(target)
    if needed > free.f_bavail * free.f_frsize:
        raise BackupFailed(
            f"`{target}` has {free.f_bavail * free.f_frsize} bytes left, `{part.path}` needs {needed}",
            hint="make room, or restore a part of it",
        )
    return _bring_back(part, target=target, on_progress=on_progress)


def restore_in_place(
    part: Part, *, restore_token: str, on_progress: ProgressSink | None = None, root: Path = ROOT
) -> Restored:
    """Bring ``part`` back to where it came from; what it overwrites is kept beside the snapshots.

    Raises BackupRefused when something other than a directory lies on the way there, BackupFailed or
    BackupPostponed.
    """
    _check_way(part, root)
    make_own_directory(part.places.replaced)
    kept = part.places.replaced / restore_token
    make_own_directory(kept)
    try:
        return _bring_back(part, target=root, kept=kept, on_progress=on_progress)
    finally:
        with suppress(OSError):  # not empty: something was kept
            kept.rmdir()


def obstacles(part: Part, *, root: Path = ROOT) -> InTheWay:
    """Return what a restore in place would meet."""
    return in_the_way(part.tree, part.parts, root)


def target_below_restore_dir(backup: Backup, *, task_id: str) -> Path:
    """Return the directory that a restore from a message writes to, made for it.

    Raises BackupRefused when the backup has no ``restore_dir``, or it is not safe to write to.
    """
    if backup.restore_dir is None:
        raise BackupRefused(
            f"backup `{backup.name}` has no `restore_dir`, so it is not restored by message",
            hint=f"add it to the fleet file, or run `fleet backup restore {backup.name} PATH` on the host",
        )
    directory = Path(backup.restore_dir)
    if not os.path.lexists(directory):
        make_own_directory(directory)
    found = directory.lstat()
    # Restored files have their old modes, set-user-ID programs included: nobody else may reach them.
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    if os.path.realpath(directory) != str(directory) or not is_private:
        raise BackupRefused(
            f"`restore_dir` `{directory}` must be a directory of mode 0700, reached without symbolic links",
            hint=f"run `chmod 0700 {shlex.quote(str(directory))}`, or name another directory",
        )
    target = directory / token(task_id)
    make_own_directory(target)
    return target


def _check_way(part: Part, root: Path) -> None:
    ways = {root.joinpath(*names[:depth]) for names in part.roots for depth in range(1, len(names))}
    for place in sorted(ways):
        if os.path.lexists(place) and not stat.S_ISDIR(place.lstat().st_mode):
            raise BackupRefused(
                f"`{place}` is not a directory, so `{part.path}` cannot go back to where it was",
                hint="restore it elsewhere with `--to DIRECTORY`",
            )


def _bring_back(
    part: Part, *, target: Path, kept: Path | None = None, on_progress: ProgressSink | None
) -> Restored:
    copy = Copy(
        # What stands after ``/./`` is what appears below the target.
        sources=tuple(f"{part.tree}/./{'/'.join(names)}" for names in part.roots),
        target=str(target),
        checksum=True,
        # In place, the directories that lead to the part are not ours to change.
        implied_directories=kept is None,
        keep_replaced_in=str(kept) if kept else None,
        progress=on_progress is not None,
    )
    program = find_rsync()
    with store.in_use(part.places, part.manifest) as lock:
        done = transfer(copy, program=program, inherit=(lock,), on_progress=on_progress)
        _check_ending(part, done.exit_code, done.problems)
        _check_content(part, target)
        found = survey(part.tree, part.parts)
    return Restored(
        backup=part.manifest.backup,
        host=part.manifest.host,
        snapshot=part.manifest.snapshot,
        path=part.path,
        target=str(Path(target, *part.parts)),
        files=found.files,
        directories=found.directories,
        others=found.others,
        bytes=found.bytes,
        kept_in=str(kept) if kept and any(kept.iterdir()) else None,
    )


def _check_ending(part: Part, exit_code: int, problems: tuple[str, ...]) -> None:
    copy = SourceCopy(
        path=part.path,
        exit_code=exit_code,
        files=0,
        bytes=0,
        transferred_files=0,
        transferred_bytes=0,
        problems=problems,
    )
    stopped = stop_reason(copy)
    if stopped is not None:
        raise stopped
    if ending(exit_code) is not Ending.COMPLETE:
        reason = problems[0] if problems else f"rsync ended with {exit_code}"
        raise BackupFailed(f"`{part.path}` was not restored in full: {reason}")


def _check_content(part: Part, target: Path) -> None:
    wrong = differences(part.tree, part.parts, target)
    if wrong:
        raise BackupFailed(
            f"restored files differ from snapshot `{part.manifest.snapshot}`: {', '.join(wrong[:3])}",
            hint="check the disk, and whether something else writes there",
        )
