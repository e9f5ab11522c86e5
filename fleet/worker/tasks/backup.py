"""What do ``fleet.backup`` and ``fleet.restore`` do with a message? It names things, never where to write."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celery import Celery

from fleet.backup.failure import BackupPostponed
from fleet.backup.part import find_part
from fleet.backup.restore import Restored, restore, target_below_restore_dir
from fleet.backup.run import run_backup
from fleet.backup.snapshots import LATEST
from fleet.backup.sources import Finished
from fleet.backup.verdict import partial_error
from fleet.errors import LedgerUnreadable, UsageError
from fleet.ledger import JobKind, JobRecord, Ledger
from fleet.model import BACKUP_TASK, RESTORE_TASK, Backup
from fleet.worker.context import WorkerContext
from fleet.worker.task import FleetTask

#: with the pause of BackupPostponed, an hour; then it is dead-lettered
MAX_ATTEMPTS = 12

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Summary = dict[str, str | int | bool | None]


def register(app: Celery) -> None:
    """Add the tasks ``fleet.backup`` and ``fleet.restore`` to ``app``."""
    app.task(_backup_task, name=BACKUP_TASK, base=FleetTask, bind=True, shared=False)
    app.task(_restore_task, name=RESTORE_TASK, base=FleetTask, bind=True, shared=False)


def back_up(context: WorkerContext, *, backup: str, task_id: str, clock: Clock) -> Summary:
    """Run ``backup`` on this host, write its outcome into the ledger and return a summary.

    Raises UsageError when this host has no such backup, and what ``run_backup`` raises; BackupPartial when
    files are missing from the snapshot.
    """
    declared = _declared(context, backup)
    attempt = _attempt(context, declared, kind=_kind(declared), task_id=task_id, clock=clock)
    with _failure_recorded(context, attempt, clock):
        done = run_backup(
            declared, host=context.host, task_id=task_id, state_dir=Path(context.fleet.state_dir), clock=clock
        )
    manifest = done.manifest
    ended = replace(
        attempt,
        started=manifest.started.timestamp(),
        finished=manifest.finished.timestamp(),
        ok=manifest.is_good,
        files=manifest.files,
        bytes=manifest.bytes,
        detail=f"{manifest.snapshot} {manifest.outcome}",
    )
    _record(context, ended)
    if done.pruning_held:
        log.warning("backup %s: %s", backup, done.pruning_held, extra={"event": "pruning_held"})
    if not manifest.is_good:
        raise partial_error(manifest)
    return _backup_summary(done)


def bring_back(
    context: WorkerContext, *, backup: str, path: str, snapshot: str, task_id: str, clock: Clock
) -> Summary:
    """Restore ``path`` below the backup's ``restore_dir``, write the outcome into the ledger, summarise it.

    Raises UsageError for a backup, snapshot or path that is not there, and what ``restore`` raises.
    """
    declared = _declared(context, backup)
    attempt = _attempt(context, declared, kind="restore", task_id=task_id, clock=clock)
    with _failure_recorded(context, attempt, clock):
        part = find_part(declared, host=context.host, path=_text(path), snapshot=_text(snapshot))
        restored = restore(part, target=target_below_restore_dir(declared, task_id=task_id))
    ended = replace(
        attempt,
        finished=clock().timestamp(),
        ok=True,
        files=restored.files,
        bytes=restored.bytes,
        detail=f"{restored.snapshot} {restored.path} to {restored.target}",
    )
    _record(context, ended)
    return _restore_summary(restored)


def _backup_task(self: Any, *, backup: str) -> Summary:
    """Back up this host."""
    with _tried_again(self):
        return back_up(self.app.fleet_context, backup=backup, task_id=self.request.id, clock=_now)


def _restore_task(self: Any, *, backup: str, path: str, snapshot: str = LATEST) -> Summary:
    """Restore a file or tree of this host into the backup's restore_dir."""
    with _tried_again(self):
        return bring_back(
            self.app.fleet_context,
            backup=backup,
            path=path,
            snapshot=snapshot,
            task_id=self.request.id,
            clock=_now,
        )


@contextmanager
def _tried_again(task: Any) -> Iterator[None]:
    try:
        yield
    except BackupPostponed as error:
        task.retry_later(error, delay_seconds=error.retry_seconds, max_attempts=MAX_ATTEMPTS)


@contextmanager
def _failure_recorded(context: WorkerContext, attempt: JobRecord, clock: Clock) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _record(context, replace(attempt, finished=clock().timestamp(), detail=str(error)))
        raise


def _now() -> datetime:
    return datetime.now(UTC)


def _declared(context: WorkerContext, name: str) -> Backup:
    declared = context.fleet.backup(_text(name))
    if declared is None:
        raise UsageError(f"{context.fleet.source} has no backup {name!r}", hint="send the name of one it has")
    if context.host not in [host.name for host in context.fleet.hosts_for(declared.hosts)]:
        raise UsageError(
            f"backup `{name}` is not for host `{context.host}`",
            hint=f"see `hosts` of [backups.{name}] in the fleet file",
        )
    return declared


def _text(value: object) -> str:
    """Return an argument of a message, which may be anything that JSON can say."""
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is not a text", hint="arguments of this task are names and a path")
    return value


def _kind(backup: Backup) -> JobKind:
    return "mirror" if backup.kind == "mirror" else "backup"


def _attempt(
    context: WorkerContext, backup: Backup, *, kind: JobKind, task_id: str, clock: Clock
) -> JobRecord:
    now = clock().timestamp()
    return JobRecord(
        kind=kind, name=backup.name, host=context.host, task_id=task_id, started=now, finished=now, ok=False
    )


def _record(context: WorkerContext, record: JobRecord) -> None:
    try:
        Ledger.in_state_dir(context.fleet.state_dir).record(record)
    except LedgerUnreadable as error:
        # The work is done, or has failed, all the same; fleet_ledger_readable tells the operator.
        log.error("%s", error, extra={"event": "ledger_unreadable", "task": record.task_id})  # noqa: TRY400 - expected, and named in full


def _backup_summary(done: Finished) -> Summary:
    manifest = done.manifest
    return {
        "backup": manifest.backup,
        "host": manifest.host,
        "snapshot": manifest.snapshot,
        "outcome": manifest.outcome.value,
        "files": manifest.files,
        "bytes": manifest.bytes,
        "transferred_bytes": sum(source.transferred_bytes for source in manifest.sources),
        "vanished": manifest.vanished,
        "pruned": len(done.pruned),
        "repeated": done.repeated,
    }


def _restore_summary(restored: Restored) -> Summary:
    return {
        "backup": restored.backup,
        "host": restored.host,
        "snapshot": restored.snapshot,
        "target": restored.target,
        "files": restored.files,
        "directories": restored.directories,
        "others": restored.others,
        "bytes": restored.bytes,
    }
