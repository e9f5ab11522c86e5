"""What is a host to have? Records in the order in which they are to be made, the same for the same fleet.

Pure: secrets and files come in as values (``fleet.hosts.material`` gathers them), records go out. A record
says what is to be there, in the words of any tool that can make it so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fleet.errors import UsageError
from fleet.hosts.hostfile import host_file
from fleet.hosts.kept import Kept, KeptDirectory, KeptFile, dump
from fleet.hosts.needs import beat_host, host_credentials, worker_backups
from fleet.hosts.paths import (
    CLIENT_KEY,
    COMMAND,
    CREDENTIALS,
    CURRENT,
    ETC,
    FLEET_FILE,
    HOME,
    TEMPLATES,
    USER,
    credential_file,
    kept_file,
    release_directory,
)
from fleet.hosts.sandbox import backup_places
from fleet.hosts.units import (
    BEAT,
    TARGET,
    Instance,
    beat_text,
    first_instances,
    state_directory,
    target_text,
    unit_file,
    worker_text,
)
from fleet.model import SLOTS, Fleet
from fleet.secrets import Secret

ROOT = "root"
NO_SHELL = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUser:
    """A user without a password, with a group of the same name."""

    name: str
    home: str
    shell: str = NO_SHELL
    #: further groups
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory that is there; what lies in it is not said."""

    path: str
    owner: str = ROOT
    group: str = ROOT
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file with this content."""

    path: str
    content: bytes = field(repr=False)
    owner: str = ROOT
    group: str = ROOT
    mode: int = 0o644
    #: its content is never shown
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit whose file is another record."""

    name: str
    enabled: bool
    #: None leaves it as it is: it may still be ending
    active: bool | None


Record = SystemUser | Directory | File | Link | Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the control machine has for one host."""

    #: credential name → value
    secrets: Mapping[str, Secret]
    #: path on the host → content of what the fleet file names by a path of the control machine
    files: Mapping[str, bytes]
    #: the fleet file as hosts have it, the same for all of them; None: made anew for this one
    fleet_file: bytes | None = field(default=None, repr=False)


def bundle(
    fleet: Fleet,
    host: str,
    release: str,
    material: Material,
    *,
    instances: tuple[Instance, ...] | None = None,
    beat: bool | None = None,
) -> tuple[Record, ...]:
    """Return what ``host`` is to have when ``release`` is its current one.

    ``instances`` are those of its workers, in a rollout old and new ones; slot a of each when left out.
    ``beat`` says whether beat runs there; on the fleet's first host, if there is a schedule, when left out.
    Raises UsageError when the fleet has no such host, or ``instances`` names a worker that is not there.
    """
    if fleet.host(host) is None:
        raise UsageError(f"{fleet.source} has no host `{host}`", hint="see `[hosts]` in the fleet file")
    runs_beat = beat_host(fleet) == host if beat is None else beat
    placed = first_instances(fleet, host, release) if instances is None else instances
    directories, files = tuple(_directories(fleet, host)), tuple(_files(fleet, material))
    return (
        SystemUser(name=USER, home=HOME),
        *directories,
        *files,
        *_credentials(fleet, host, material, beat=runs_beat),
        Link(path=CURRENT, target=release_directory(release)),
        Link(path=COMMAND, target=f"{CURRENT}/bin/fleet"),
        *_unit_files(fleet, host, placed, release if runs_beat else None),
        _kept(fleet, host, release, (*directories, *files), beat=runs_beat),
        Unit(name=TARGET, enabled=True, active=True),
        *(Unit(name=each.unit, enabled=each.active, active=each.active or None) for each in placed),
        *((Unit(name=BEAT, enabled=True, active=True),) if runs_beat else ()),
    )


def _kept(fleet: Fleet, host: str, release: str, records: Iterable[Record], *, beat: bool) -> File:
    """Return the record of what ``release`` runs with: all that is no secret, for both slots of a worker."""
    directories = tuple(
        KeptDirectory(path=each.path, owner=each.owner, group=each.group, mode=each.mode)
        for each in records
        if isinstance(each, Directory)
    )
    files = [each for each in records if isinstance(each, File)]
    kept = Kept(
        release=release,
        workers={
            worker.name: {
                slot: worker_text(
                    fleet, host, worker, Instance(worker=worker.name, slot=slot, release=release)
                )
                for slot in SLOTS
            }
            for worker in fleet.workers_on(host)
        },
        beat=beat_text(fleet, release) if beat else None,
        directories=directories,
        files=tuple(_kept_file(each) for each in files if is_configuration(each.path)),
        certificates=tuple(each.path for each in files if not is_configuration(each.path)),
    )
    return File(path=kept_file(release), content=dump(kept), group=USER, mode=0o640)


def is_configuration(path: str) -> bool:
    """Tell whether a file says what the fleet does, rather than what it shows or trusts."""
    return path == FLEET_FILE or path.startswith(f"{TEMPLATES}/")


def _kept_file(file: File) -> KeptFile:
    content = file.content.decode(errors="surrogateescape")
    return KeptFile(path=file.path, content=content, owner=file.owner, group=file.group, mode=file.mode)


def _directories(fleet: Fleet, host: str) -> Iterator[Record]:
    yield Directory(path=ETC)
    yield Directory(path=CREDENTIALS, mode=0o700)
    # What a release lies in is made with it.
    backups = [backup for worker in fleet.workers_on(host) for backup in worker_backups(fleet, host, worker)]
    places = list(backup_places(tuple(backups)))
    if state_directory(fleet) is None:
        places.append(fleet.state_dir)
    for place in dict.fromkeys(places):
        yield Directory(path=place, owner=USER, group=USER, mode=0o700)


def _files(fleet: Fleet, material: Material) -> Iterator[Record]:
    text = host_file(fleet).encode() if material.fleet_file is None else material.fleet_file
    yield File(path=FLEET_FILE, content=text, group=USER, mode=0o640)
    if any(path.startswith(f"{TEMPLATES}/") for path in material.files):
        yield Directory(path=TEMPLATES)
    for path, content in sorted(material.files.items()):
        if path == CLIENT_KEY:
            yield File(path=path, content=content, group=USER, mode=0o440, secret=True)
        else:
            yield File(path=path, content=content)


def _credentials(fleet: Fleet, host: str, material: Material, *, beat: bool) -> Iterator[Record]:
    for name in sorted(host_credentials(fleet, host, beat=beat)):
        content = material.secrets[name].reveal().encode()
        yield File(path=credential_file(name), content=content, mode=0o400, secret=True)


def _unit_files(
    fleet: Fleet, host: str, instances: tuple[Instance, ...], beat_release: str | None
) -> Iterator[Record]:
    yield File(path=unit_file(TARGET), content=target_text().encode())
    here = {worker.name: worker for worker in fleet.workers_on(host)}
    for instance in instances:
        worker = here.get(instance.worker)
        if worker is None:
            known = ", ".join(here) or "none"
            raise UsageError(
                f"worker `{instance.worker}` does not run on host `{host}`", hint=f"workers there: {known}"
            )
        yield File(path=unit_file(instance.unit), content=worker_text(fleet, host, worker, instance).encode())
    if beat_release is not None:
        yield File(path=unit_file(BEAT), content=beat_text(fleet, beat_release).encode())
