"""How is a release built on the control machine, so that a host needs no index, no compiler and no pip?

One that was built before is found without looking into its files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from fleet.hosts.archives import drop_old
from fleet.hosts.built import forget, recall, remember, stamp
from fleet.hosts.cache import alone
from fleet.hosts.install import Release
from fleet.hosts.target import Target
from fleet.model import Fleet, Kind


def build_release(
    declared: Fleet,
    target: Target,
    *,
    cache: Path,
    wheels: Sequence[Path] = (),
    on_build: Callable[[], None] = lambda: None,
) -> Release:
    """Build the release of the fleet ``declared`` for ``target``, or find it in ``cache``.

    ``wheels`` ride along, such as what the operator's task modules need. ``on_build`` is called before
    anything is fetched or made.
    Raises UsageError when a task module is not found, FleetError when pip cannot fetch what is locked, or
    cannot install it for ``target``.
    """
    extras = _extras(declared)
    before = stamp(declared, target, cache=cache, wheels=wheels, extras=extras)
    if known := recall(before, target, cache=cache):
        return known
    # What only building needs takes as long to import as a release to be found.
    from fleet.hosts.assembled import find_or_build
    from fleet.hosts.parts import drop_parts

    with alone(cache):
        built = find_or_build(declared, target, cache=cache, wheels=wheels, extras=extras, on_build=on_build)
        # What was fetched or written meanwhile counts, so nothing is noted where that happened.
        if stamp(declared, target, cache=cache, wheels=wheels, extras=extras) == before:
            remember(before, built, cache=cache)
        drop_parts(target, cache=cache, keep=drop_old(target, cache=cache))
        forget(target, cache=cache)
    return built


def _extras(declared: Fleet) -> tuple[str, ...]:
    uses_redis = declared.broker.kind is Kind.REDIS or declared.broker.result_backend is not None
    return ("redis",) if uses_redis else ()
