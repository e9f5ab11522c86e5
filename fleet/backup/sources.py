"""How is one source of a backup copied, and what is written down about it?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleet.backup.disk import write_durably
from fleet.backup.excludes import exclude_file, patterns_for
from fleet.backup.layout import Layout
from fleet.backup.manifest import Manifest, Outcome, SourceCopy
from fleet.backup.rsync import Copy
from fleet.backup.transfer import Program, ProgressSink, transfer
from fleet.model import Backup

_EXCLUDES = ".excludes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a backup, with its lock held."""

    backup: Backup
    host: str
    task_id: str
    places: Layout
    program: Program
    clock: Callable[[], datetime]
    #: descriptor of the lock, which every rsync inherits
    lock: int
    on_progress: ProgressSink | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that ended with a copy, good or partial."""

    manifest: Manifest
    #: where the copied files lie
    tree: Path
    #: snapshots that retention has removed
    pruned: tuple[str, ...] = ()
    #: why nothing was pruned, or None
    pruning_held: str | None = None
    #: this task had ended well before; nothing ran now
    repeated: bool = False


def copy_source(
    run: Run,
    source: str,
    *,
    target: Path,
    link_dests: tuple[Path, ...] = (),
    delete: bool = False,
    max_delete: int | None = None,
    dry_run: bool = False,
) -> SourceCopy:
    """Copy ``source`` below ``target`` and return how it went, which may be badly."""
    copy = Copy(
        sources=(source,),
        target=str(target),
        link_dests=tuple(str(path) for path in link_dests),
        exclude_file=str(target.with_name(_EXCLUDES)),
        one_file_system=run.backup.one_file_system,
        bandwidth_limit_bytes_per_second=run.backup.bandwidth_limit_bytes_per_second,
        delete=delete,
        max_delete=max_delete,
        dry_run=dry_run,
        progress=run.on_progress is not None,
    )
    with _excludes(run, source, target.with_name(_EXCLUDES)):
        done = transfer(copy, program=run.program, inherit=(run.lock,), on_progress=run.on_progress)
    return SourceCopy(
        path=source,
        exit_code=done.exit_code,
        files=done.stats.files,
        bytes=done.stats.bytes,
        transferred_files=done.stats.transferred_files,
        transferred_bytes=done.stats.transferred_bytes,
        deleted=done.stats.deleted,
        vanished=done.vanished,
        problems=done.problems,
    )


@contextmanager
def _excludes(run: Run, source: str, path: Path) -> Iterator[None]:
    patterns = patterns_for(
        source,
        sources=run.backup.sources,
        excludes=run.backup.excludes,
        destination=run.backup.destination,
    )
    write_durably(path, exclude_file(patterns))
    yield
    path.unlink()


def describe(
    run: Run,
    *,
    started: datetime,
    snapshot: str,
    result: Outcome,
    copies: tuple[SourceCopy, ...],
    linked_to: str | None = None,
) -> Manifest:
    """Return the manifest of a run that ends now."""
    return Manifest(
        kind=run.backup.kind,
        backup=run.backup.name,
        host=run.host,
        snapshot=snapshot,
        task_id=run.task_id,
        started=started,
        finished=run.clock(),
        outcome=result,
        sources=copies,
        excludes=run.backup.excludes,
        rsync_version=run.program.version,
        linked_to=linked_to,
    )
