"""How does a run become a dated snapshot in one step?"""

from collections.abc import Sequence
from pathlib import Path

from fleet.backup import store
from fleet.backup.failure import BackupFailed, BackupRefused
from fleet.backup.layout import Layout, token
from fleet.backup.manifest import Manifest, SourceCopy
from fleet.backup.snapshots import newest_good, prunable, shrink_reason, snapshot_name
from fleet.backup.sources import Finished, Run, copy_source, describe
from fleet.backup.verdict import outcome, stop_reason


def make_snapshot(run: Run) -> Finished:
    """Copy every source into a fresh directory, publish it, and let go what retention does not keep."""
    started = run.clock()
    existing = store.snapshots(run.places)
    incoming = store.begin(run.places, run_token=token(run.task_id))
    references = (*incoming.leftovers, *_references(run.places, existing))
    try:
        copies = tuple(_copy(run, source, incoming.tree, references) for source in run.backup.sources)
        result = outcome(copies, backup=run.backup)
    except (BackupRefused, BackupFailed):
        # No later run goes on from it, and on a full disk it would only take room.
        store.discard(run.places, incoming.directory)
        raise
    base = newest_good(existing)
    manifest = describe(
        run,
        started=started,
        snapshot=snapshot_name(started=started, task_id=run.task_id),
        result=result,
        copies=copies,
        linked_to=base.snapshot if base else None,
    )
    store.publish(run.places, incoming, manifest)
    return _prune(run, manifest)


def _copy(run: Run, source: str, tree: Path, references: tuple[Path, ...]) -> SourceCopy:
    copy = copy_source(run, source, target=tree, link_dests=references)
    stopped = stop_reason(copy)
    if stopped is not None:
        raise stopped
    return copy


def _references(places: Layout, existing: Sequence[Manifest]) -> list[Path]:
    """Return the trees to link equal files from: the newest snapshot, and the newest good one."""
    newest = [manifest for manifest in (*existing[-1:], newest_good(existing)) if manifest is not None]
    return list(dict.fromkeys(store.tree_of(places, manifest) for manifest in newest))


def _prune(run: Run, manifest: Manifest) -> Finished:
    existing = store.snapshots(run.places)
    held = shrink_reason(existing)
    pruned = () if held else store.prune(run.places, prunable(existing, run.backup.retention))
    return Finished(
        manifest=manifest, tree=store.tree_of(run.places, manifest), pruned=pruned, pruning_held=held
    )
