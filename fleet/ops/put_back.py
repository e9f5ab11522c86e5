"""What stands on a host again when something new does not get ready there, and what stays as others made it?

What runs again is decided before anything is changed. What stood still then was nobody's to take away, and
what another operator did meanwhile is looked at again.
"""

from collections.abc import Iterator
from dataclasses import replace

from fleet.hosts.paths import CURRENT, DRAINED, PREVIOUS, UNDONE
from fleet.hosts.restored import as_is
from fleet.hosts.units import TARGET, unit_file, worker_of_unit
from fleet.ops.host_change import HostChange, host_state
from fleet.ops.host_sources import Known
from provisioning.apply import Report
from provisioning.errors import ProvisioningError
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.objects import File, HostObject, Link, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.state import HostState

#: said of a host that somebody else has drained while it was changed
AT_REST = "it is drained, and its workers stay at rest"
_MARK = ("path", DRAINED)


def state_before(begin: HostState, known: Known) -> HostState | None:
    """Return ``begin`` without what was started anew; None on a host that has run nothing before.

    Workers that ran before are left as they are; beat, which has no second slot, starts anew with what it ran
    with. Their configuration is what it was; of secrets the new ones stay, for nothing else is known here.
    """
    link = known.get(("path", CURRENT))
    if not isinstance(link, Link):
        return None
    ran = {
        thing.name for thing in known.values() if isinstance(thing, Unit) and (thing.active or thing.ending)
    }
    new = {thing.name for thing in begin if isinstance(thing, Unit) and thing.active} - ran
    linked = {("path", path) for path in (CURRENT, PREVIOUS, UNDONE)}
    gone = {*linked, *(("unit", name) for name in new), *(("path", unit_file(name)) for name in new)}
    stays = [_as_it_was(thing, known) for thing in begin if thing.identity not in gone]
    if _MARK in known and _MARK not in {thing.identity for thing in stays}:
        stays.append(known[_MARK])
    return host_state((*stays, *(known[each] for each in linked if each in known)))


def _as_it_was(thing: HostObject, known: Known) -> HostObject:
    before = known.get(thing.identity)
    if isinstance(thing, Unit):
        if isinstance(before, Unit) and before.active and worker_of_unit(thing.name) is None:
            return Unit(name=thing.name, enabled=None, active=True, restart_on=before.restart_on)
        return Unit(name=thing.name, enabled=None, active=None)
    return before if isinstance(before, File) and before.content is not None else thing


def put_back(failed: Report, change: HostChange, door: HostDoor, by: Operator) -> Report:
    """Take away what did not get ready, where something else ran before; return ``failed`` with what became.

    A host that was drained meanwhile stays so.
    """
    if change.back is None:
        return failed
    try:
        now = {thing.identity: thing for thing in door.observe(change.back).objects}
        before = {thing.identity: thing for thing in change.begin.seen.objects}
        back = beside_others(change.back, before, now)
        report = apply(plan(back, door.observe(back)), door, by=replace(by, reason="put back"))
    except ProvisioningError as error:
        return replace(failed, notes=(*failed.notes, f"it could not be put back: {error.message}"))
    goes_on = AT_REST if _MARK in now else "the old instances go on"
    told = goes_on if report.converged else "it could not be put back in full"
    return replace(failed, notes=(*failed.notes, told))


def is_drained_now(wanted: HostState, seen: HostObservation) -> bool:
    """Tell whether a host was drained since it was planned that it is to be as ``wanted``."""
    return any(thing.identity == _MARK for thing in seen.objects) and all(
        thing.identity != _MARK for thing in wanted
    )


def beside_others(back: HostState, before: Known, now: Known) -> HostState:
    """Return ``back`` with what nobody may take away along with what did not get ready.

    That is what stood still ``before`` the change and is no other now, and the mark of a host that somebody
    has drained until ``now``.
    """
    kept = {thing.identity: thing for thing in back}
    for thing in _stood_still(before, now):
        kept.setdefault(thing.identity, thing)
    if _MARK in now:
        # As it is, if that is another than the one of before, too.
        kept[_MARK] = now[_MARK]
    return host_state(kept.values())


def _stood_still(before: Known, now: Known) -> Iterator[HostObject]:
    """Yield the units that were there and did not run, and their files, as they are to be left."""
    for unit in before.values():
        if not isinstance(unit, Unit):
            continue
        file = ("path", unit_file(unit.name))
        was, found = before.get(file), now.get(file)
        if not isinstance(was, File) or not isinstance(found, File):
            continue
        if unit.name == TARGET:
            # To stop it would stop what goes on.
            yield from (found, as_is(unit))
        elif unit.enabled and was.digest == found.digest:
            yield from (found, Unit(name=unit.name, enabled=True, active=False))
