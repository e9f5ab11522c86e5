"""Which state does what a host is to have mean to provisioning, and when is a running unit out of date?"""

from collections.abc import Iterable, Mapping

from fleet.hosts import bundle as words
from fleet.hosts.needs import beat_credentials, worker_credentials
from fleet.hosts.paths import CREDENTIALS, DRAINED, RELEASES, credential_file
from fleet.hosts.units import BEAT, Instance, unit_file
from fleet.model import Fleet
from provisioning.hosts.objects import Directory, File, HostObject, Link, SystemUser, Unit, digest_of

#: what is here concerns a unit only where it is its own, or is what no unit reads
_NO_CONCERN = (unit_file(""), f"{CREDENTIALS}/", f"{RELEASES}/", DRAINED)


def host_objects(
    fleet: Fleet, host: str, records: Iterable[words.Record], instances: Iterable[Instance]
) -> tuple[HostObject, ...]:
    """Return ``records`` in provisioning's words.

    A unit is out of date when it was started with another unit file, configuration or credential than it
    would be now; a worker does not care for what only other workers read.
    """
    return with_digests(map(as_object, records), _read_by(fleet, host, instances))


def with_digests(
    objects: Iterable[HostObject], read_by: Mapping[str, frozenset[str]]
) -> tuple[HostObject, ...]:
    """Return ``objects``, each unit of ``read_by`` (unit → credentials that it loads) with its digest."""
    every = tuple(objects)
    files = {each.path: each for each in every if isinstance(each, File)}
    return tuple(
        _with_digest(each, files, read_by.get(each.name)) if isinstance(each, Unit) else each
        for each in every
    )


def as_object(record: words.Record) -> HostObject:
    """Return one record in provisioning's words."""
    match record:
        case words.SystemUser():
            return SystemUser(name=record.name, home=record.home, shell=record.shell, groups=record.groups)
        case words.Directory():
            return Directory(path=record.path, owner=record.owner, group=record.group, mode=record.mode)
        case words.File():
            return File(
                path=record.path,
                content=record.content,
                owner=record.owner,
                group=record.group,
                mode=record.mode,
                secret=record.secret,
            )
        case words.Link():
            return Link(path=record.path, target=record.target)
        case words.Unit():
            return Unit(name=record.name, enabled=record.enabled, active=record.active)


def _read_by(fleet: Fleet, host: str, instances: Iterable[Instance]) -> Mapping[str, frozenset[str]]:
    """Return which credentials each unit loads; a unit that loads none and reads nothing is left out."""
    workers = {worker.name: worker for worker in fleet.workers_on(host)}
    read = {each.unit: frozenset(worker_credentials(fleet, host, workers[each.worker])) for each in instances}
    return {**read, BEAT: frozenset(beat_credentials(fleet))}


def _with_digest(unit: Unit, files: Mapping[str, File], credentials: frozenset[str] | None) -> Unit:
    if credentials is None:
        return unit
    loaded = {credential_file(name) for name in credentials}
    concerned = [
        file
        for path, file in files.items()
        if path == unit_file(unit.name) or path in loaded or not path.startswith(_NO_CONCERN)
    ]
    return Unit(name=unit.name, enabled=unit.enabled, active=unit.active, restart_on=digest_of(*concerned))
