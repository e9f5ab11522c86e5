"""What must change on a host, given what runs there: which release, which slots, which files?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from fleet.hosts.bundle import Material, bundle
from fleet.hosts.install import Release, is_installed_argv
from fleet.hosts.paths import CURRENT, RELEASES
from fleet.hosts.slots import Seen, Slots, choose
from fleet.hosts.state import host_objects
from fleet.hosts.units import Instance, unit_file, worker_unit
from fleet.model import SLOTS, Fleet
from provisioning.hosts.door import HostDoor
from provisioning.hosts.objects import File, HostObject, Link, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import HostState
from provisioning.plan import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChange:
    """Everything that must change on one host, in two steps: new instances start, then old ones end."""

    release: Release
    is_installed: bool
    #: files, links and the start of what shall run
    begin: HostPlan
    #: what stands there once what runs in another slot has been told to end; None where nothing has
    end: HostState | None
    #: units that are told to end
    ends: tuple[str, ...]
    #: units of a stop that goes on
    ending: tuple[str, ...]
    #: what stands there again if a new instance does not get ready
    back: HostState | None = field(repr=False)
    #: names of releases that something on the host runs from
    releases_in_use: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        return self.is_installed and not self.begin.changes and not self.ends


@dataclass(frozen=True, slots=True)
class _Host:
    fleet: Fleet
    name: str
    release: str
    material: Material

    def objects(self, instances: tuple[Instance, ...]) -> tuple[HostObject, ...]:
        records = bundle(self.fleet, self.name, self.release, self.material, instances=instances)
        return host_objects(self.fleet, self.name, records, instances)

    def instances(self, slots: Mapping[str, Iterable[str]]) -> tuple[Instance, ...]:
        return tuple(
            Instance(worker=worker, slot=slot, release=self.release)
            for worker, chosen in slots.items()
            for slot in chosen
        )


def plan_host(
    fleet: Fleet, host: str, runner: Runner, release: Release, material: Material, *, contents: bool = False
) -> HostChange:
    """Look at ``host`` and return what must change; with ``contents`` texts come along, for a diff.

    Raises HostBusy while the last change is not over, and what ``runner`` raises.
    """
    here, door = _Host(fleet, host, release.name, material), HostDoor(runner)
    workers = [worker.name for worker in fleet.workers_on(host)]
    every = here.objects(here.instances(dict.fromkeys(workers, SLOTS)))
    seen = door.observe(HostState(every), contents=True)
    slots = _choose(host, workers, every, seen)
    wanted = here.objects(here.instances({name: (each.runs,) for name, each in slots.items()}))
    ends = _units(slots, lambda each: each.ends)
    ending = _units(slots, lambda each: each.ending)
    known = {thing.identity: thing for thing in seen.objects}
    kept = tuple(_kept(known, every, (*ends, *ending)))
    begin = HostState((*wanted, *kept))
    installed = runner.run(is_installed_argv(release.name), as_root=True).exit_code == 0
    return HostChange(
        release=release,
        is_installed=installed,
        begin=plan(begin, door.observe(begin, contents=contents)),
        end=HostState((*wanted, *_told_to_end(kept, ends))) if ends else None,
        ends=ends,
        ending=ending,
        back=_back(begin, known),
        releases_in_use=frozenset({release.name, *_releases(known)}),
    )


def _choose(
    host: str, workers: Iterable[str], every: Iterable[HostObject], seen: HostObservation
) -> dict[str, Slots]:
    wanted = {thing.name: thing for thing in every if isinstance(thing, Unit)}
    units = {thing.name: thing for thing in seen.objects if isinstance(thing, Unit)}
    chosen = {}
    for worker in workers:
        names = {slot: worker_unit(worker, slot) for slot in SLOTS}
        found = {slot: _seen(units[name], wanted[name]) for slot, name in names.items() if name in units}
        chosen[worker] = choose(host, worker, found)
    return chosen


def _seen(unit: Unit, wanted: Unit) -> Seen:
    return Seen(
        enabled=bool(unit.enabled),
        active=bool(unit.active),
        ending=unit.ending,
        is_current=not wanted.is_outdated(unit),
    )


def _units(slots: Mapping[str, Slots], which: Callable[[Slots], tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(worker_unit(worker, slot) for worker, each in slots.items() for slot in which(each))


def _kept(
    known: Mapping[Identity, HostObject], every: Iterable[HostObject], units: Iterable[str]
) -> Iterator[HostObject]:
    """Yield the units that run on for a while, and their files as they are."""
    wanted = {thing.path: thing for thing in every if isinstance(thing, File)}
    for name in units:
        path = unit_file(name)
        found = known.get(("path", path))
        if isinstance(found, File):
            # A text that is as it would be now did not come along.
            yield replace(found, content=wanted[path].content) if found.content is None else found
        yield Unit(name=name, enabled=None, active=None)


def _told_to_end(kept: Iterable[HostObject], ends: Iterable[str]) -> Iterator[HostObject]:
    for thing in kept:
        if isinstance(thing, Unit) and thing.name in ends:
            yield replace(thing, enabled=False, active=False, waits=False)
        else:
            yield thing


def _back(begin: HostState, known: Mapping[Identity, HostObject]) -> HostState | None:
    """Return the state without what was started anew; None on a host that has run nothing before.

    Units that ran before are left as they are, whatever has become of their files.
    """
    link = known.get(("path", CURRENT))
    if not isinstance(link, Link):
        return None
    ran = {
        thing.name for thing in known.values() if isinstance(thing, Unit) and (thing.active or thing.ending)
    }
    new = {thing.name for thing in begin if isinstance(thing, Unit) and thing.name not in ran}
    gone = {link.identity, *(("unit", name) for name in new), *(("path", unit_file(name)) for name in new)}
    stays = tuple(
        Unit(name=thing.name, enabled=None, active=None) if isinstance(thing, Unit) else thing
        for thing in begin
        if thing.identity not in gone
    )
    return HostState((*stays, link))


def _releases(known: Mapping[Identity, HostObject]) -> Iterator[str]:
    """Yield the releases that units on the host run from, and the current one."""
    prefix = f"{RELEASES}/"
    for thing in known.values():
        if isinstance(thing, Link) and thing.path == CURRENT:
            yield thing.target.removeprefix(prefix)
        elif isinstance(thing, File) and thing.content is not None and prefix.encode() in thing.content:
            yield thing.content.decode().split(prefix, 1)[1].split("/", 1)[0]
