"""How is one backup of this host made, so that it counts only when it is whole?"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fleet.backup import store
from fleet.backup.destination import check_room, check_sources, prepare
from fleet.backup.failure import BackupPostponed
from fleet.backup.layout import Layout, layout
from fleet.backup.lock import hold_lock
from fleet.backup.mirror import MIRROR, make_mirror
from fleet.backup.snapshot import make_snapshot
from fleet.backup.sources import Finished, Run
from fleet.backup.transfer import ProgressSink, find_rsync
from fleet.model import Backup


def run_backup(
    backup: Backup,
    *,
    host: str,
    task_id: str,
    state_dir: Path,
    clock: Callable[[], datetime],
    on_progress: ProgressSink | None = None,
) -> Finished:
    """Make one copy of ``backup`` on this host; a task that has ended well before returns what it made.

    A partial copy is returned, too: see ``manifest.is_good``. ``clock`` returns aware times.
    Raises BackupRefused, BackupFailed or BackupPostponed; finished snapshots are untouched then.
    """
    places = layout(destination=backup.destination, host=host, backup=backup.name)
    done = _finished_before(places, backup, task_id)
    if done is not None:
        return done
    check_sources(backup)
    program = find_rsync()
    prepare(backup, host=host, state_dir=state_dir)
    try:
        with hold_lock(places, task_id=task_id) as lock:
            run = Run(
                backup=backup,
                host=host,
                task_id=task_id,
                places=places,
                program=program,
                clock=clock,
                lock=lock,
                on_progress=on_progress,
            )
            return _perform(run)
    except OSError as error:
        raise BackupPostponed(f"`{places.root}`: {error}") from error


def _perform(run: Run) -> Finished:
    # Looked for again with the lock held: the run that had it may have been this very task.
    done = _finished_before(run.places, run.backup, run.task_id)
    if done is not None:
        return done
    store.empty_trash(run.places)
    is_mirror = run.backup.kind == MIRROR
    check_room(run.places, hard_links=not is_mirror)
    return make_mirror(run) if is_mirror else make_snapshot(run)


def _finished_before(places: Layout, backup: Backup, task_id: str) -> Finished | None:
    copies = store.copies(places, kind=backup.kind)
    found = next((copy for copy in copies if copy.task_id == task_id and copy.is_good), None)
    if found is None:
        return None
    return Finished(manifest=found, tree=store.tree_of(places, found), repeated=True)
