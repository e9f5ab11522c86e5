"""What must change on a host, given what runs there: which release, which slots, which files?

Where the new state comes from is a ``Source``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from fleet.hosts.bundle import Material
from fleet.hosts.history import History, history, links
from fleet.hosts.install import KEEP, MARK, Release
from fleet.hosts.paths import CURRENT, DRAINED, PREVIOUS, RELEASES, UNDONE
from fleet.hosts.slots import Seen, Slots, choose
from fleet.hosts.units import Instance, unit_file, worker_of_unit, worker_unit
from fleet.model import SLOTS, Fleet
from fleet.ops.host_sources import FromFile, Known, Source
from provisioning.hosts.door import HostDoor
from provisioning.hosts.objects import File, HostObject, Link, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import HostState
from provisioning.plan import Action, Change

#: in place of the name of a release, before that is known
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """Everything that must change on one host, in two steps: new instances start, then old ones end."""

    #: name of the release that runs from now on
    release: str
    #: all of the release was there when that was looked for
    is_complete: bool = True
    #: what is installed first; None where it is there
    install: Release | None = None
    #: files, links and the start of what shall run
    begin: HostPlan
    #: what stands there once what runs in another slot has been told to end; None where nothing has
    end: HostState | None = None
    #: units that are told to end
    ends: tuple[str, ...] = ()
    #: units of a stop that goes on
    ending: tuple[str, ...] = ()
    #: what stands there again if a new instance does not get ready
    back: HostState | None = field(default=None, repr=False)
    #: names of releases that something on the host runs from; None: there are no old ones that may go
    releases_in_use: frozenset[str] | None = None
    #: node name of each instance that shall run → broker queues that it consumes
    consumes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: what an operator should know besides
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return self.install is None and not self.begin.changes and not self.ends

    @property
    def only_clears(self) -> bool:
        """Nothing is to be done, but that what instances have left that have ended is taken away."""
        return self.install is None and not self.ends and all(map(_is_left, self.begin.changes))


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
    return door.observe(_state(_in_every_slot(source)), contents=True, holding={RELEASES: MARK})


def _change(
    source: Source, seen: HostObservation, door: HostDoor, intent: Intent, *, contents: bool
) -> HostChange:
    known = {thing.identity: thing for thing in seen.objects}
    before, is_drained = history(known, ()), ("path", DRAINED) in known and not intent.resume
    slots = _choose(source, _in_every_slot(source), seen, anew=intent.anew and not is_drained)
    runs = _instances(source, {name: (each.runs,) for name, each in slots.items()})
    apart = [*links(before, source.release, back=intent.back), *_marker(known, kept=is_drained)]
    wanted = [*source.objects(runs), *apart]
    if is_drained:
        wanted = [_stopped(thing) for thing in wanted]
    ends = _units(slots, lambda each: each.ends)
    ending = _units(slots, lambda each: each.ending)
    kept = tuple(_kept(known, (*ends, *ending)))
    begin = _state((*wanted, *kept))
    return HostChange(
        release=source.release,
        is_complete=source.release in seen.holding[RELEASES],
        begin=_plan(begin, seen, door, contents=contents),
        end=_state((*wanted, *_told_to_end(kept, ends))) if ends else None,
        ends=ends,
        ending=ending,
        # Where nothing is started, nothing fails to get ready.
        back=None if is_drained else _back(begin, known),
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


def _state(objects: Iterable[HostObject]) -> HostState:
    # What older releases ran with lies beside them, and goes with them.
    return HostState(objects, keeps=(RELEASES,))


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


def _kept(known: Known, units: Iterable[str]) -> Iterator[HostObject]:
    """Yield the units that run on for a while, and their files as they are."""
    for name in units:
        found = known.get(("path", unit_file(name)))
        if isinstance(found, File):
            yield found
        yield Unit(name=name, enabled=None, active=None)


def _told_to_end(kept: Iterable[HostObject], ends: Iterable[str]) -> Iterator[HostObject]:
    for thing in kept:
        if isinstance(thing, Unit) and thing.name in ends:
            yield replace(thing, enabled=False, active=False, waits=False)
        else:
            yield thing


def _back(begin: HostState, known: Known) -> HostState | None:
    """Return the state without what was started anew; None on a host that has run nothing before.

    Workers that ran before are left as they are; beat, which has no second slot, starts anew with what it ran
    with. Their configuration is what it was; of secrets the new ones stay, for nothing else is known here.
    """
    link = known.get(("path", CURRENT))
    if not isinstance(link, Link):
        return None
    ran = {
        thing.name for thing in known.values() if isinstance(thing, Unit) and (thing.active or thing.ending)
    }
    new = {thing.name for thing in begin if isinstance(thing, Unit) and thing.name not in ran}
    linked = {("path", path) for path in (CURRENT, PREVIOUS, UNDONE)}
    gone = {*linked, *(("unit", name) for name in new), *(("path", unit_file(name)) for name in new)}
    stays = [_as_it_was(thing, known) for thing in begin if thing.identity not in gone]
    if ("path", DRAINED) not in {thing.identity for thing in stays}:
        stays += _marker(known, kept=("path", DRAINED) in known)
    return _state((*stays, *(known[each] for each in linked if each in known)))


def _as_it_was(thing: HostObject, known: Known) -> HostObject:
    before = known.get(thing.identity)
    if isinstance(thing, Unit):
        if isinstance(before, Unit) and worker_of_unit(thing.name) is None:
            return Unit(name=thing.name, enabled=None, active=True, restart_on=before.restart_on)
        return Unit(name=thing.name, enabled=None, active=None)
    return before if isinstance(before, File) and before.content is not None else thing


def _may_be_old(source: Source, seen: HostObservation) -> bool:
    return len(seen.holding[RELEASES] | {source.release}) > KEEP


def _in_use(source: Source, known: Known) -> frozenset[str]:
    return frozenset({source.release, *_releases(known)})


def _releases(known: Known) -> Iterator[str]:
    """Yield the releases that units on the host run from, the current one and the one before."""
    told: History = history(known, ())
    yield from (each for each in (told.current, told.previous, told.undone) if each)
    prefix = f"{RELEASES}/"
    for thing in known.values():
        if isinstance(thing, File) and thing.content is not None and prefix.encode() in thing.content:
            yield thing.content.decode(errors="replace").split(prefix, 1)[1].split("/", 1)[0]


def _consumes(source: Source, instances: Iterable[Instance]) -> Mapping[str, frozenset[str]]:
    return {f"{each.worker}-{each.slot}@{source.host}": source.queues(each.worker) for each in instances}


def _is_left(change: Change) -> bool:
    """Tell whether a change deletes the unit of an instance of a worker that does not run, or its file."""
    before = change.before if change.action is Action.DELETE else None
    if isinstance(before, Unit):
        return before.active is False and not before.ending and worker_of_unit(before.name) is not None
    return isinstance(before, File) and worker_of_unit(before.path.removeprefix(unit_file(""))) is not None


def _notes(before: History, release: str, *, is_drained: bool) -> tuple[str, ...]:
    notes = []
    if before.undone == release:
        notes.append(f"{release} was rolled back here, and would come again")
    if is_drained:
        notes.append("drained: its workers are not started; `fleet resume` does that")
    return tuple(notes)
