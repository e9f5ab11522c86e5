"""What do the copies of the sources add up to: a good snapshot, a partial one, or none?"""

from collections.abc import Sequence

from fleet.backup.failure import BackupError, BackupFailed, BackupPartial, BackupPostponed, BackupRefused
from fleet.backup.manifest import Manifest, Outcome, SourceCopy
from fleet.backup.rsync import Ending, ending, says_disk_is_full
from fleet.model import Backup

#: files may go away while they are read; more than this share of a source, and more than this many, is a loss
VANISHED_SHARE = 0.05
VANISHED_COUNT = 100


def stop_reason(copy: SourceCopy) -> BackupError | None:
    """Return why the run must end with this source, or None when it may go on."""
    end = ending(copy.exit_code)
    full = next((line for line in copy.problems if says_disk_is_full(line)), None)
    if full is not None and end is not Ending.COMPLETE:
        return BackupFailed(
            f"the disk was full during the copy of `{copy.path}`: {full}",
            hint="make room, or keep fewer snapshots (`retention`)",
        )
    if end in (Ending.COMPLETE, Ending.VANISHED, Ending.INCOMPLETE):
        return None
    what = f"rsync of `{copy.path}` ended with {_code(copy.exit_code)}"
    reason = f"{what}: {copy.problems[0]}" if copy.problems else what
    if end is Ending.TOO_MANY_DELETIONS:
        return BackupRefused(reason, hint="raise `max_delete` if the files are gone on purpose")
    if end in (Ending.INPUT_OUTPUT, Ending.PASSING, Ending.STOPPED):
        return BackupPostponed(reason)
    return BackupFailed(reason)


def outcome(copies: Sequence[SourceCopy], *, backup: Backup) -> Outcome:
    """Return how complete the copies are together.

    Raises BackupRefused when they hold fewer files than the backup must have.
    """
    files = sum(copy.files for copy in copies)
    if files < backup.min_files:
        raise too_few(backup, files)
    if any(ending(copy.exit_code) is Ending.INCOMPLETE or _lost_too_many(copy) for copy in copies):
        return Outcome.PARTIAL
    if any(ending(copy.exit_code) is Ending.VANISHED for copy in copies):
        return Outcome.VANISHED
    return Outcome.COMPLETE


def too_few(backup: Backup, files: int) -> BackupRefused:
    """Return the refusal of a run that found only ``files`` files."""
    return BackupRefused(
        f"the sources of backup `{backup.name}` hold {files} files, at least {backup.min_files} are expected",
        hint="check that they are mounted, or lower `min_files`",
    )


def mirror_refusal(
    counted: Sequence[SourceCopy], *, backup: Backup, before: Manifest | None
) -> BackupRefused | None:
    """Return why a mirror must not be brought up to what a dry run ``counted``, or None."""
    files = sum(copy.files for copy in counted)
    if files < backup.min_files:
        return too_few(backup, files)
    held = {copy.path: copy.files for copy in before.sources} if before else {}
    for copy in counted:
        if copy.files == 0 and held.get(copy.path, 0) > 0:
            return BackupRefused(
                f"source `{copy.path}` of mirror `{backup.name}` is empty, its mirror holds "
                f"{held[copy.path]} files",
                hint="check that it is mounted; if it is empty on purpose, take it out of `sources`",
            )
    deleted = sum(copy.deleted for copy in counted)
    if deleted > backup.max_delete:
        return BackupRefused(
            f"mirror `{backup.name}` would lose {deleted} files, `max_delete` allows {backup.max_delete}",
            hint="check the sources; raise `max_delete` if the files are gone on purpose",
        )
    return None


def partial_error(manifest: Manifest) -> BackupPartial:
    """Return the error that a partial copy is reported with."""
    problems = [problem for copy in manifest.sources for problem in copy.problems]
    first = f": {problems[0]}" if problems else ""
    return BackupPartial(
        f"{manifest.kind} `{manifest.snapshot}` of backup `{manifest.backup}` on `{manifest.host}` "
        f"is partial, {len(problems)} problems{first}",
        hint="make the files readable or exclude them; the manifest lists them",
    )


def _lost_too_many(copy: SourceCopy) -> bool:
    return copy.vanished > max(VANISHED_COUNT, VANISHED_SHARE * copy.files)


def _code(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
