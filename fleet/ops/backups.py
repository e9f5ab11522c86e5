"""Which copies lie on this machine's disks, and how does a part of one come back?"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from fleet.backup import store
from fleet.backup.compare import InTheWay
from fleet.backup.destination import make_own_directory
from fleet.backup.failure import BackupRefused
from fleet.backup.layout import Layout, layout, token
from fleet.backup.manifest import Manifest
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

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCopy:
    """A snapshot, or a mirror, on a disk of this machine."""

    backup: str
    host: str
    #: ``snapshot`` or ``mirror``
    kind: str
    snapshot: str
    #: ``complete``, ``complete-with-vanished`` or ``partial``
    outcome: str
    #: RFC 3339
    started: str
    #: RFC 3339
    finished: str
    duration_seconds: float
    files: int
    bytes: int
    #: files that went away while they were read
    vanished: int
    task_id: str
    #: directory that stands for the host's root
    tree: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is known on this machine about the fleet's backups."""

    #: oldest first, by backup and host
    copies: tuple[ListedCopy, ...]
    #: the last attempt of each backup, mirror and restore that ran on this machine
    attempts: tuple[JobRecord, ...]
    #: why ``attempts`` is empty though there may be some, or None
    attempts_unknown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A part of a copy, with the backup that it belongs to."""

    backup: Backup
    part: Part


def list_backups(fleet: Fleet, *, name: str | None = None, hosts: tuple[str, ...] = ()) -> Listing:
    """Return the copies on this machine, of one backup or all, of hosts that match or all.

    Raises UsageError for a backup that the fleet file has not, BackupFailed when a copy may not be read.
    """
    backups = fleet.backups if name is None else (_backup(fleet, name),)
    wanted = {host.name for host in (fleet.hosts_for(hosts) if hosts else fleet.hosts)}
    found = tuple(
        _listed(places, manifest)
        for backup in backups
        for host in fleet.hosts_for(backup.hosts)
        if host.name in wanted
        for places in [layout(destination=backup.destination, host=host.name, backup=backup.name)]
        for manifest in _manifests(backup, places)
    )
    names = {backup.name for backup in backups}
    try:
        latest = Ledger.in_state_dir(fleet.state_dir).latest()
    except LedgerUnreadable as error:
        return Listing(copies=found, attempts=(), attempts_unknown=str(error))
    attempts = tuple(
        record
        for record in latest
        if record.kind != "url_check" and record.name in names and record.host in wanted
    )
    return Listing(copies=found, attempts=attempts)


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
    backup = _backup(fleet, name)
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

    Raises BackupRefused, BackupFailed or BackupPostponed.
    """
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


def _backup(fleet: Fleet, name: str) -> Backup:
    backup = fleet.backup(name)
    if backup is None:
        known = ", ".join(each.name for each in fleet.backups) or "none"
        raise UsageError(f"{fleet.source} has no backup `{name}`", hint=f"backups: {known}")
    return backup


def _manifests(backup: Backup, places: Layout) -> Sequence[Manifest]:
    if backup.kind == "mirror":
        copy = store.mirror(places)
        return () if copy is None else (copy,)
    return store.snapshots(places)


def _listed(places: Layout, manifest: Manifest) -> ListedCopy:
    return ListedCopy(
        backup=manifest.backup,
        host=manifest.host,
        kind=manifest.kind,
        snapshot=manifest.snapshot,
        outcome=manifest.outcome.value,
        started=manifest.started.isoformat(timespec="seconds"),
        finished=manifest.finished.isoformat(timespec="seconds"),
        duration_seconds=(manifest.finished - manifest.started).total_seconds(),
        files=manifest.files,
        bytes=manifest.bytes,
        vanished=manifest.vanished,
        task_id=manifest.task_id,
        tree=str(store.tree_of(places, manifest)),
    )


def _only_host(fleet: Fleet, backup: Backup) -> str:
    having = [
        host.name
        for host in fleet.hosts_for(backup.hosts)
        if _manifests(backup, layout(destination=backup.destination, host=host.name, backup=backup.name))
    ]
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
