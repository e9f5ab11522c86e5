"""What does a host have when a release that is there already runs, or runs anew?

Nothing comes from the control machine but the order: units and configuration are those that the release ran
with, passwords, keys and certificates those that the host has now. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping

from fleet.errors import UsageError
from fleet.hosts import bundle as words
from fleet.hosts.kept import Kept, dump, loaded
from fleet.hosts.paths import (
    COMMAND,
    CURRENT,
    DRAINED,
    HOME,
    PREVIOUS,
    UNDONE,
    USER,
    credential_file,
    kept_file,
    release_directory,
)
from fleet.hosts.state import as_object, with_digests
from fleet.hosts.units import BEAT, TARGET, Instance, target_text, unit_file, worker_of_unit
from provisioning.hosts.objects import File, HostObject, Placed, Unit
from provisioning.plan import Identity

#: what is said apart from the rest, for it depends on what is done
APART = frozenset({PREVIOUS, UNDONE, DRAINED})


def as_released(
    host: str, kept: Kept, seen: Mapping[Identity, HostObject], instances: tuple[Instance, ...]
) -> tuple[HostObject, ...]:
    """Return what ``host`` is to have when the release of ``kept`` is its current one again.

    Raises UsageError when it needs a credential or certificate that is not there any more.
    """
    needed = (*(credential_file(name) for name in sorted(kept.credentials)), *kept.certificates)
    stays = [found for path in needed if isinstance(found := seen.get(("path", path)), File)]
    if len(stays) < len(needed):
        missing = ", ".join(f"`{path}`" for path in needed if ("path", path) not in seen)
        raise UsageError(
            f"host `{host}`: release {kept.release} needs {missing}, which is not there any more",
            hint="bring those lines of the fleet file back, and roll out",
        )
    records: tuple[words.Record, ...] = (
        words.SystemUser(name=USER, home=HOME),
        *_configuration(kept),
        words.Link(path=CURRENT, target=release_directory(kept.release)),
        words.Link(path=COMMAND, target=f"{CURRENT}/bin/fleet"),
        *_units(kept, instances),
    )
    read_by = _read_by(kept, instances)
    beat = {BEAT: loaded(kept.beat)} if kept.beat is not None else {}
    return with_digests((*map(as_object, records), *stays), {**read_by, **beat})


def as_it_stands(
    kept: Kept, seen: Mapping[Identity, HostObject], instances: tuple[Instance, ...]
) -> tuple[HostObject, ...]:
    """Return what a host has, with ``instances`` in place of all other instances of its workers."""
    stays = (as_is(found) for found in seen.values() if not _is_apart(found))
    units = map(as_object, _instances(kept, instances))
    return with_digests((*stays, *units), _read_by(kept, instances))


def as_is(found: HostObject) -> HostObject:
    """Return what leaves ``found`` as it is."""
    if isinstance(found, Unit):
        return Unit(name=found.name, enabled=None, active=None)
    return found


def _is_apart(found: HostObject) -> bool:
    if isinstance(found, Placed):
        name = found.path.rpartition("/")[2]
        return found.path in APART or (found.path == unit_file(name) and worker_of_unit(name) is not None)
    return isinstance(found, Unit) and worker_of_unit(found.name) is not None


def _configuration(kept: Kept) -> Iterator[words.Record]:
    for each in kept.directories:
        yield words.Directory(path=each.path, owner=each.owner, group=each.group, mode=each.mode)
    for file in kept.files:
        content = file.content.encode(errors="surrogateescape")
        yield words.File(path=file.path, content=content, owner=file.owner, group=file.group, mode=file.mode)
    yield words.File(path=kept_file(kept.release), content=dump(kept), group=USER, mode=0o640)


def _units(kept: Kept, instances: tuple[Instance, ...]) -> Iterator[words.Record]:
    yield words.File(path=unit_file(TARGET), content=target_text().encode())
    yield words.Unit(name=TARGET, enabled=True, active=True)
    yield from _instances(kept, instances)
    if kept.beat is not None:
        yield words.File(path=unit_file(BEAT), content=kept.beat.encode())
        yield words.Unit(name=BEAT, enabled=True, active=True)


def _instances(kept: Kept, instances: tuple[Instance, ...]) -> Iterator[words.Record]:
    for each in instances:
        text = kept.workers[each.worker][each.slot]
        yield words.File(path=unit_file(each.unit), content=text.encode())
        yield words.Unit(name=each.unit, enabled=each.active, active=each.active or None)


def _read_by(kept: Kept, instances: Iterable[Instance]) -> dict[str, frozenset[str]]:
    return {each.unit: loaded(kept.workers[each.worker][each.slot]) for each in instances}
