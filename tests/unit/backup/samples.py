"""Manifests to test with."""

from datetime import UTC, datetime, timedelta

from fleet.backup.manifest import Manifest, Outcome, SourceCopy
from fleet.backup.snapshots import snapshot_name
from fleet.model import Backup

FIRST_NIGHT = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)

ETC = Backup(name="etc", hosts=("*",), sources=("/etc",), destination="/srv/backup")


def source_copy(
    *,
    path: str = "/etc",
    exit_code: int = 0,
    files: int = 10,
    deleted: int = 0,
    vanished: int = 0,
    problems: tuple[str, ...] = (),
) -> SourceCopy:
    return SourceCopy(
        path=path,
        exit_code=exit_code,
        files=files,
        bytes=files * 100,
        transferred_files=1,
        transferred_bytes=100,
        deleted=deleted,
        vanished=vanished,
        problems=problems,
    )


def manifest(
    *,
    after: timedelta = timedelta(),
    outcome: Outcome = Outcome.COMPLETE,
    files: int = 10,
    kind: str = "snapshot",
) -> Manifest:
    started = FIRST_NIGHT + after
    return Manifest(
        kind=kind,
        backup="etc",
        host="alpha",
        snapshot=snapshot_name(started=started, task_id="t1"),
        task_id="t1",
        started=started,
        finished=started + timedelta(minutes=5),
        outcome=outcome,
        sources=(source_copy(files=files),),
    )
