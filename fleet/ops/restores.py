"""How does a part of a copy on this machine come back, at an operator's word?"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from fleet.backup.compare import InTheWay
from fleet.backup.destination import make_own_directory
from fleet.backup.failure import BackupRefused
from fleet.backup.layout import token
from fleet.backup.part import Part, find_part
from fleet.backup.restore import (
    ROOT,
    Restored,
    obstacles,
    restore,
    restore_in_place,
    target_below_restore_dir,
)
from fleet.backup.snapshots import LATEST
from fleet.backup.transfer import ProgressSink
from fleet.errors import LedgerUnreadable, UsageError
from fleet.ledger import JobRecord, Ledger
from fleet.model import Backup, Fleet
from fleet.ops.backups import copies_of, declared_backup

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A part of a copy, with the backup that it belongs to."""

    backup: Backup
    part: Part


def locate(
    fleet: Fleet,
    *,
    name: str,
    path: str,
    host: str | None = None,
    snapshot: str = LATEST,
    at: datetime | None = None,
) -> Located:
    """Return the part of a copy that an operator means; ``host`` may be left out where only one has copies.

    Raises UsageError when the backup, host, snapshot or path is not there.
    """
    backup = declared_backup(fleet, name)
    chosen = host if host is not None else _only_host(fleet, backup)
    if chosen not in [each.name for each in fleet.hosts_for(backup.hosts)]:
        raise UsageError(
            f"backup `{name}` is not for host `{chosen}`",
            hint=f"see `hosts` of [backups.{name}] in the fleet file",
        )
    return Located(backup=backup, part=find_part(backup, host=chosen, path=path, snapshot=snapshot, at=at))


def bring_back(
    fleet: Fleet,
    located: Located,
    *,
    directory: Path | None,
    task_id: str,
    clock: Clock,
    on_progress: ProgressSink | None = None,
) -> Restored:
    """Restore into ``directory``, which is empty or made for it; None means the backup's ``restore_dir``.

    Raises UsageError when neither is there, BackupRefused, BackupFailed or BackupPostponed.
    """
    if directory is None and located.backup.restore_dir is None:
        raise UsageError(
            f"backup `{located.backup.name}` has no `restore_dir`, so it must be said where to restore to",
            hint="add `--to DIRECTORY` or `--in-place`",
        )
    if directory is None:
        target = target_below_restore_dir(located.backup, task_id=task_id)
    else:
        target = _empty_directory(directory)
    started = clock()
    restored = restore(located.part, target=target, on_progress=on_progress)
    _record(fleet, restored, task_id=task_id, started=started, finished=clock())
    return restored


def put_back(
    fleet: Fleet,
    located: Located,
    *,
    overwrite_newer: bool,
    task_id: str,
    clock: Clock,
    on_progress: ProgressSink | None = None,
    root: Path = ROOT,
) -> Restored:
    """Restore to where the files came from; what is overwritten is kept beside the snapshots.

    Raises what ``preview`` raises; BackupRefused also when the way there leads through a symbolic link;
    BackupFailed or BackupPostponed.
    """
    preview(located, overwrite_newer=overwrite_newer, root=root)
    started = clock()
    restored = restore_in_place(
        located.part, restore_token=token(task_id), on_progress=on_progress, root=root
    )
    _record(fleet, restored, task_id=task_id, started=started, finished=clock())
    return restored


def preview(located: Located, *, overwrite_newer: bool, root: Path = ROOT) -> InTheWay:
    """Return what a restore in place would do.

    Raises BackupRefused when a file there changed after the one in the snapshot, unless ``overwrite_newer``.
    """
    found = obstacles(located.part, root=root)
    if found.newer and not overwrite_newer:
        raise BackupRefused(
            f"{found.newer} files changed after the snapshot was made, such as `{found.newer_paths[0]}`",
            hint="add `--force` to overwrite them (a copy is kept), or restore elsewhere with `--to`",
        )
    return found


def parse_moment(text: str, *, timezone: str) -> datetime:
    """Return the time that ``text`` says, in the fleet's time zone where it names none.

    Raises UsageError for a text that is not an ISO 8601 date or time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"time `{text}` is not understood", hint="write it as 2026-11-21 or 2026-11-21T14:30"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))


def _only_host(fleet: Fleet, backup: Backup) -> str:
    candidates = [host.name for host in fleet.hosts_for(backup.hosts)]
    having = [name for name in candidates if copies_of(backup, host=name)]
    if len(having) == 1:
        return having[0]
    if not having:
        raise UsageError(
            f"this machine has no copy of backup `{backup.name}` in `{backup.destination}`",
            hint="run the command on the host that was backed up",
        )
    raise UsageError(
        f"this machine has copies of backup `{backup.name}` of several hosts",
        hint=f"add `--host NAME`; hosts: {', '.join(having)}",
    )


def _empty_directory(directory: Path) -> Path:
    absolute = directory.absolute()
    make_own_directory(absolute)
    if any(absolute.iterdir()):
        raise BackupRefused(
            f"directory `{directory}` is not empty", hint="name one that is empty or does not exist yet"
        )
    return absolute


def _record(fleet: Fleet, restored: Restored, *, task_id: str, started: datetime, finished: datetime) -> None:
    record = JobRecord(
        kind="restore",
        name=restored.backup,
        host=restored.host,
        task_id=task_id,
        started=started.timestamp(),
        finished=finished.timestamp(),
        ok=True,
        files=restored.files,
        bytes=restored.bytes,
        detail=f"{restored.snapshot} {restored.path} to {restored.target}",
    )
    try:
        Ledger.in_state_dir(fleet.state_dir).record(record)
    except LedgerUnreadable as error:
        # The files are back; that this machine's ledger does not know is no reason to call it a failure.
        log.warning("%s", error, extra={"event": "ledger_unreadable"})
