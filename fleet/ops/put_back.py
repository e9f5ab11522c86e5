"""What stands on a host again when something new does not get ready there? Pure."""

from fleet.hosts.paths import CURRENT, DRAINED, PREVIOUS, UNDONE
from fleet.hosts.units import unit_file, worker_of_unit
from fleet.ops.host_change import host_state
from fleet.ops.host_sources import Known
from provisioning.hosts.objects import File, HostObject, Link, Unit
from provisioning.hosts.state import HostState


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
    mark = ("path", DRAINED)
    if mark in known and mark not in {thing.identity for thing in stays}:
        stays.append(known[mark])
    return host_state((*stays, *(known[each] for each in linked if each in known)))


def _as_it_was(thing: HostObject, known: Known) -> HostObject:
    before = known.get(thing.identity)
    if isinstance(thing, Unit):
        if isinstance(before, Unit) and worker_of_unit(thing.name) is None:
            return Unit(name=thing.name, enabled=None, active=True, restart_on=before.restart_on)
        return Unit(name=thing.name, enabled=None, active=None)
    return before if isinstance(before, File) and before.content is not None else thing
