"""What do old instances of workers need for as long as they run, and how are they told to end?

A worker may be in the middle of a task that takes hours, whether another instance takes its place or none
does: nobody waits for it, and nothing is taken from under it.
"""

import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from fleet.hosts.history import history
from fleet.hosts.kept import loaded
from fleet.hosts.paths import CREDENTIALS, RELEASES, UNITS, credential_file
from fleet.hosts.restored import APART
from fleet.hosts.units import unit_file, worker_of_unit
from fleet.ops.host_sources import Known
from provisioning.hosts.door import HostDoor
from provisioning.hosts.objects import Directory, File, HostObject, Link, Unit
from provisioning.hosts.state import HostState

#: the digest of no content
_ANY_OTHER = "-"
#: what is below is a unit's own, or stays with its release
_NOT_SHARED = (f"{UNITS}/", f"{RELEASES}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The instances of workers that are not to run on a host any more, and have not ended."""

    #: units that have still to be told
    ends: tuple[str, ...] = ()
    #: units that were
    ending: tuple[str, ...] = ()


def leaving(workers: Collection[str], found: Iterable[HostObject]) -> Leaving:
    """Return which of the units ``found`` are of a worker that is none of ``workers``, and have not ended."""
    units = [thing for thing in found if isinstance(thing, Unit) and _is_of_another(thing, workers)]
    return Leaving(
        # One that is on its way up is as good as one that runs.
        ends=tuple(unit.name for unit in units if unit.active is not False and not unit.ending),
        ending=tuple(unit.name for unit in units if unit.ending),
    )


def _is_of_another(unit: Unit, workers: Collection[str]) -> bool:
    return (worker := worker_of_unit(unit.name)) is not None and worker not in workers


def look_at_files(door: HostDoor, known: Known, units: Iterable[str]) -> Known:
    """Return ``known`` with the texts of the files of ``units``; it takes a look where there are any.

    The first look at a host asks for the texts of what it is to have, and cannot know of others.
    """
    files = [found for name in units if isinstance(found := known.get(("path", unit_file(name))), File)]
    if not files:
        return known
    asked = HostState(replace(file, content=None, digest=_ANY_OTHER) for file in files)
    seen = {thing.identity: thing for thing in door.observe(asked, contents=True).objects}
    return {**known, **{file.identity: seen.get(file.identity, file) for file in files}}


def kept(known: Known, units: Collection[str], wanted: Iterable[HostObject]) -> Iterator[HostObject]:
    """Yield ``units``, which run on for a while, and what they need besides what is ``wanted``, as it is.

    That is their files, the credentials that they load, and whatever else of configuration and directories is
    ours: a task may read a template or write a copy to its very end.
    """
    if not units:
        return
    files = [found for name in units if isinstance(found := known.get(("path", unit_file(name))), File)]
    yield from files
    yield from (Unit(name=name, enabled=None, active=None) for name in units)
    there = {thing.identity for thing in wanted}
    needed = {credential_file(name) for file in files for name in loaded(_text(file))}
    for identity, found in known.items():
        if identity not in there and _may_be_needed(found, needed):
            yield _closed(found)


def _closed(found: HostObject) -> HostObject:
    """Return ``found`` as it is; but a secret that somebody has opened to everybody is not left so."""
    if isinstance(found, File) and found.secret:
        return replace(found, mode=found.mode & ~stat.S_IRWXO)
    return found


def _may_be_needed(found: HostObject, credentials: Collection[str]) -> bool:
    if not isinstance(found, File | Directory | Link):
        return False
    if found.path.startswith(f"{CREDENTIALS}/"):
        return found.path in credentials
    return found.ours and found.path not in APART and not found.path.startswith(_NOT_SHARED)


def _text(file: File) -> str:
    return (file.content or b"").decode(errors="replace")


def told_to_end(kept: Iterable[HostObject], ends: Collection[str]) -> Iterator[HostObject]:
    """Yield ``kept``, of which the units ``ends`` take nothing new and end when their tasks have."""
    for thing in kept:
        if isinstance(thing, Unit) and thing.name in ends:
            yield replace(thing, enabled=False, active=False, waits=False)
        else:
            yield thing


def releases_in_use(known: Known) -> Iterator[str]:
    """Yield the releases that units on the host run from, the current one and those that may come back."""
    told = history(known, ())
    yield from (each for each in (told.current, told.previous, told.undone) if each)
    prefix = f"{RELEASES}/"
    for thing in known.values():
        if isinstance(thing, File) and prefix in _text(thing):
            yield _text(thing).split(prefix, 1)[1].split("/", 1)[0]
