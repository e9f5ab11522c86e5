"""Which copies lie on this machine's disks, and how did their last attempts end?"""

from dataclasses import dataclass

from fleet.backup import store
from fleet.backup.layout import Layout, layout
from fleet.backup.manifest import Manifest
from fleet.errors import LedgerUnreadable, UsageError
from fleet.ledger import JobRecord, Ledger
from fleet.model import Backup, Fleet


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


def list_backups(fleet: Fleet, *, name: str | None = None, hosts: tuple[str, ...] = ()) -> Listing:
    """Return the copies on this machine, of one backup or all, of hosts that match or all.

    Raises UsageError for a backup that the fleet file has not, BackupFailed when a copy may not be read.
    """
    backups = fleet.backups if name is None else (declared_backup(fleet, name),)
    wanted = {host.name for host in (fleet.hosts_for(hosts) if hosts else fleet.hosts)}
    found = tuple(
        _listed(places, manifest)
        for backup in backups
        for host in fleet.hosts_for(backup.hosts)
        if host.name in wanted
        for places, manifest in copies_of(backup, host=host.name)
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


def declared_backup(fleet: Fleet, name: str) -> Backup:
    """Return the backup of this name.

    Raises UsageError when the fleet file has none.
    """
    backup = fleet.backup(name)
    if backup is None:
        known = ", ".join(each.name for each in fleet.backups) or "none"
        raise UsageError(f"{fleet.source} has no backup `{name}`", hint=f"backups: {known}")
    return backup


def copies_of(backup: Backup, *, host: str) -> tuple[tuple[Layout, Manifest], ...]:
    """Return the copies of ``backup`` of ``host`` on this machine, each with its places, oldest first.

    Raises BackupFailed when they may not be read.
    """
    places = layout(destination=backup.destination, host=host, backup=backup.name)
    return tuple((places, manifest) for manifest in store.copies(places, kind=backup.kind))


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
