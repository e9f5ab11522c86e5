"""How is a mirror, one copy in which deletions follow the source, brought up to date without losing it?

``rsync --delete`` from an unmounted source empties the copy and reports success. So a dry run counts first,
and ``--max-delete`` holds should the source change between the two.
"""

from dataclasses import replace

from fleet.backup import store
from fleet.backup.disk import flush_file_system, write_durably
from fleet.backup.manifest import Manifest, Outcome, SourceCopy, render
from fleet.backup.sources import Finished, Run, copy_source, describe
from fleet.backup.verdict import mirror_refusal, outcome, stop_reason

#: what a mirror is called where a snapshot has a name
MIRROR = "mirror"


def make_mirror(run: Run) -> Finished:
    """Bring the mirror up to date, unless too much would be deleted from it."""
    started = run.clock()
    before = store.mirror(run.places)
    counted = [_copy(run, source, dry_run=True, max_delete=None) for source in run.backup.sources]
    refusal = mirror_refusal(counted, backup=run.backup, before=before)
    if refusal is not None:
        raise refusal
    if before is not None:
        # From here to the end the tree is neither what it was nor what it will be.
        _write(run, replace(before, outcome=Outcome.PARTIAL))
    copies = tuple(
        _copy(run, source, dry_run=False, max_delete=run.backup.max_delete) for source in run.backup.sources
    )
    result = outcome(copies, backup=run.backup)
    manifest = describe(run, started=started, snapshot=MIRROR, result=result, copies=copies)
    flush_file_system(run.places.root)
    _write(run, manifest)
    return Finished(manifest=manifest, tree=run.places.mirror_tree)


def _copy(run: Run, source: str, *, dry_run: bool, max_delete: int | None) -> SourceCopy:
    copy = copy_source(
        run, source, target=run.places.mirror_tree, delete=True, max_delete=max_delete, dry_run=dry_run
    )
    stopped = stop_reason(copy)
    if stopped is not None:
        raise stopped
    return copy


def _write(run: Run, manifest: Manifest) -> None:
    write_durably(run.places.mirror_manifest, render(manifest))
