"""What is a snapshot called, which one is meant, and which ones may go?"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from fleet.backup.manifest import Manifest
from fleet.errors import UsageError
from fleet.model import Retention

#: what an operator writes for the newest good snapshot
LATEST = "latest"

#: a source that lost more than this share of its files stops pruning until someone has looked
SHRINK_LIMIT = 0.5
#: for how long
SHRINK_WINDOW = timedelta(days=14)

_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)_[0-9a-f]{8}")
_SEE_SNAPSHOTS = "run `fleet backup list` to see the snapshots"
_TIME = "%Y-%m-%dT%H-%M-%SZ"


def snapshot_name(*, started: datetime, task_id: str) -> str:
    """Return a name that sorts by time, such as ``2026-11-21T07-30-00Z_1f0c9a3e``."""
    # The moment is part of it: a task that ran again after a partial snapshot needs another name.
    seed = f"{started.isoformat()} {task_id}"
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{started.astimezone(UTC).strftime(_TIME)}_{digest}"


def is_snapshot_name(name: str) -> bool:
    """Tell whether ``name`` is one that ``snapshot_name`` makes."""
    return _NAME.fullmatch(name) is not None


def newest_good(manifests: Iterable[Manifest]) -> Manifest | None:
    """Return the newest snapshot that is not partial, or None."""
    return max((m for m in manifests if m.is_good), key=_age_order, default=None)


def choose(manifests: Sequence[Manifest], *, wanted: str = LATEST, at: datetime | None = None) -> Manifest:
    """Return the snapshot that an operator means: by name, the newest good one, or the good one as of ``at``.

    Raises UsageError when there is none.
    """
    if wanted != LATEST:
        named = [m for m in manifests if m.snapshot == wanted]
        if not named:
            raise UsageError(f"there is no snapshot {wanted!r}", hint=_SEE_SNAPSHOTS)
        return named[0]
    found = newest_good(m for m in manifests if at is None or m.started <= at)
    if found is None:
        when = "" if at is None else f" from {at.isoformat(timespec='seconds')} or before"
        raise UsageError(f"there is no good snapshot{when}", hint=_SEE_SNAPSHOTS)
    return found


def prunable(manifests: Iterable[Manifest], retention: Retention) -> tuple[str, ...]:
    """Return the names of the snapshots that ``retention`` lets go, oldest first.

    The newest good snapshot always stays. A partial one stays while no good one is newer.
    """
    ordered = sorted(manifests, key=_age_order, reverse=True)
    good = [m for m in ordered if m.is_good]
    if not good:
        return ()
    kept = {m.snapshot for m in good[: max(1, retention.last)]}
    kept |= _newest_of_each(good, retention.daily, lambda m: m.started.astimezone(UTC).date())
    kept |= _newest_of_each(good, retention.weekly, lambda m: m.started.astimezone(UTC).isocalendar()[:2])
    kept |= _newest_of_each(good, retention.monthly, lambda m: m.started.astimezone(UTC).strftime("%Y-%m"))
    kept |= {m.snapshot for m in ordered if not m.is_good and _age_order(m) > _age_order(good[0])}
    return tuple(m.snapshot for m in reversed(ordered) if m.snapshot not in kept)


def shrink_reason(manifests: Iterable[Manifest]) -> str | None:
    """Return why the newest good snapshot looks too small to prune older ones for, or None.

    An emptied or unmounted source must not push out the snapshots from before, at least for two weeks.
    """
    good = sorted((m for m in manifests if m.is_good), key=_age_order)
    if not good:
        return None
    newest = good[-1]
    before = max(m.files for m in good if newest.started - m.started <= SHRINK_WINDOW)
    if newest.files >= before * (1 - SHRINK_LIMIT):
        return None
    return f"the newest snapshot has {newest.files} files, a recent one {before}: nothing is pruned"


def _newest_of_each(good: Sequence[Manifest], periods: int, period: Callable[[Manifest], object]) -> set[str]:
    # ``good`` is newest first, so the first one of each group is its newest.
    newest = [next(group).snapshot for _, group in groupby(good, key=period)]
    return set(newest[: max(0, periods)])


def _age_order(manifest: Manifest) -> tuple[datetime, str]:
    return manifest.started, manifest.snapshot
