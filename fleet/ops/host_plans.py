"""What must change on a host, given what runs there: which release, which slots, which files?

Where the new state comes from is a ``Source``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from fleet.hosts.bundle import Material
from fleet.hosts.history import History, history, links
from fleet.hosts.install import KEEP, MARK, Release
from fleet.hosts.paths import DRAINED, RELEASES
from fleet.hosts.slots import Seen, Slots, choose
from fleet.hosts.units import Instance, worker_of_unit, worker_unit
from fleet.model import SLOTS, Fleet
from fleet.ops.host_change import HostChange, host_state
from fleet.ops.host_sources import FromFile, Known, Source
from fleet.ops.old_instances import kept, leaving, look_at_files, releases_in_use, told_to_end
from fleet.ops.put_back import state_before
from provisioning.hosts.door import HostDoor
from provisioning.hosts.objects import HostObject, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import HostState

#: in place of the name of a release, before that is known
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What an operator wants, besides that the host is as its source says."""

    #: every worker starts anew
    anew: bool = False
    #: it goes back to a release
    back: bool = False
    #: a host that is drained works again
    resume: bool = False


def plan_host(
    fleet: Fleet,
    runner: Runner,
    build: Callable[[str], Release],
    material: Material,
    *,
    contents: bool = False,
) -> HostChange:
    """Look at the host that ``runner`` is named after; return what must change to what the fleet file says.

    ``build`` gives the release for a Python, a machine and a C library. With ``contents`` texts come along,
    for a diff. Raises HostBusy while the last change is not over, and what ``build`` and ``runner`` raise.
    """
    door = HostDoor(runner)
    # Which release it is follows from what the first look tells; where its files lie does not.
    source = FromFile(fleet=fleet, host=runner.name, release=UNKNOWN, material=material)
    seen = _first_look(source, door)
    release = build(seen.runtime)
    change = _change(replace(source, release=release.name), seen, door, Intent(), contents=contents)
    return change if change.is_complete else replace(change, install=release)


def plan_change(source: Source, runner: Runner, intent: Intent, *, contents: bool = False) -> HostChange:
    """Look at a host and return what must change so that it is as ``source`` and ``intent`` want it.

    Raises HostBusy while the last change is not over, UsageError where something is missing, and what
    ``runner`` raises.
    """
    door = HostDoor(runner)
    return _change(source, _first_look(source, door), door, intent, contents=contents)


def _first_look(source: Source, door: HostDoor) -> HostObservation:
    """Look at all that may be there of ``source``, and at which releases are complete."""
    return door.observe(host_state(_in_every_slot(source)), contents=True, holding={RELEASES: MARK})


def _change(
    source: Source, seen: HostObservation, door: HostDoor, intent: Intent, *, contents: bool
) -> HostChange:
    known: Known = {thing.identity: thing for thing in seen.objects}
    before, is_drained = history(known, ()), ("path", DRAINED) in known and not intent.resume
    slots = _choose(source, _in_every_slot(source), seen, anew=intent.anew and not is_drained)
    runs = _instances(source, {name: (each.runs,) for name, each in slots.items()})
    apart = [*links(before, source.release, back=intent.back), *_marker(known, kept=is_drained)]
    wanted = [*source.objects(runs), *apart]
    if is_drained:
        wanted = [_stopped(thing) for thing in wanted]
    left = leaving(source.workers, seen.objects)
    known = look_at_files(door, known, (*left.ends, *left.ending))
    ends = (*_units(slots, lambda each: each.ends), *left.ends)
    ending = (*_units(slots, lambda each: each.ending), *left.ending)
    runs_on = tuple(kept(known, (*ends, *ending), wanted))
    begin = host_state((*wanted, *runs_on))
    return HostChange(
        release=source.release,
        is_complete=source.release in seen.holding[RELEASES],
        begin=_plan(begin, seen, door, contents=contents),
        end=host_state((*wanted, *told_to_end(runs_on, ends))) if ends else None,
        ends=ends,
        ending=ending,
        leaving=left.ends,
        # Where nothing is started, nothing fails to get ready.
        back=None if is_drained else state_before(begin, known),
        releases_in_use=_in_use(source, known) if _may_be_old(source, seen) else None,
        consumes={} if is_drained else _consumes(source, runs),
        notes=_notes(before, source.release, is_drained=is_drained),
    )


def _plan(begin: HostState, seen: HostObservation, door: HostDoor, *, contents: bool) -> HostPlan:
    """Return what must change; only where that is something, it takes a look that can be applied to.

    The first look was at all that ``begin`` names, or takes what it has not seen for missing, and at more:
    where even so nothing must change, a second look would say no less.
    """
    found = plan(begin, seen)
    return plan(begin, door.observe(begin, contents=contents)) if found.changes else found


def look(door: HostDoor) -> Known:
    """Return what is ours on a host."""
    return {thing.identity: thing for thing in door.observe(HostState(())).objects}


def _in_every_slot(source: Source) -> tuple[HostObject, ...]:
    return source.objects(_instances(source, dict.fromkeys(source.workers, SLOTS)))


def _instances(source: Source, slots: Mapping[str, Iterable[str]]) -> tuple[Instance, ...]:
    return tuple(
        Instance(worker=worker, slot=slot, release=source.release)
        for worker, chosen in slots.items()
        for slot in chosen
    )


def _choose(
    source: Source, every: Iterable[HostObject], seen: HostObservation, *, anew: bool
) -> dict[str, Slots]:
    wanted = {thing.name: thing for thing in every if isinstance(thing, Unit)}
    units = {thing.name: thing for thing in seen.objects if isinstance(thing, Unit)}
    chosen = {}
    for worker in source.workers:
        names = {slot: worker_unit(worker, slot) for slot in SLOTS}
        found = {slot: units[name] for slot, name in names.items() if name in units}
        told = {slot: _seen(unit, wanted[names[slot]]) for slot, unit in found.items()}
        chosen[worker] = choose(source.host, worker, told, anew=anew)
    return chosen


def _seen(unit: Unit, wanted: Unit) -> Seen:
    return Seen(
        enabled=bool(unit.enabled),
        active=bool(unit.active),
        ending=unit.ending,
        is_current=not wanted.is_outdated(unit),
        since=unit.since,
    )


def _units(slots: Mapping[str, Slots], which: Callable[[Slots], tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(worker_unit(worker, slot) for worker, each in slots.items() for slot in which(each))


def _marker(known: Known, *, kept: bool) -> Iterator[HostObject]:
    if kept:
        yield known["path", DRAINED]


def _stopped(thing: HostObject) -> HostObject:
    if isinstance(thing, Unit) and worker_of_unit(thing.name) is not None:
        return replace(thing, enabled=False, active=False, waits=False, restart_on="")
    return thing


def _may_be_old(source: Source, seen: HostObservation) -> bool:
    return len(seen.holding[RELEASES] | {source.release}) > KEEP


def _in_use(source: Source, known: Known) -> frozenset[str]:
    return frozenset({source.release, *releases_in_use(known)})


def _consumes(source: Source, instances: Iterable[Instance]) -> Mapping[str, frozenset[str]]:
    return {f"{each.worker}-{each.slot}@{source.host}": source.queues(each.worker) for each in instances}


def _notes(before: History, release: str, *, is_drained: bool) -> tuple[str, ...]:
    notes = []
    if before.undone == release:
        notes.append(f"{release} was rolled back here, and would come again")
    if is_drained:
        notes.append("drained: its workers are not started; `fleet resume` does that")
    return tuple(notes)
