"""Hosts that are as a fleet file says, for a look at hundreds of them: a door that waits as a network does.

What such a host answers is what the agent says on a real one: `tests/hosts/test_simulated_hosts.py` asks a
host of the lab and this one the same, and compares the answers. The agent's own code makes the fingerprint.
Nothing can be changed here, and a question that the real look does not ask is refused.
"""

import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.hosts.bundle import Material
from fleet.hosts.install import Release, mark_of
from fleet.hosts.target import FACTS_ARGV
from fleet.hosts.units import first_instances
from fleet.model import Fleet
from fleet.ops.host_sources import FromFile
from fleet.ops.hosts import SudoPassword
from provisioning.hosts.agent.look import SPACES, fingerprint
from provisioning.hosts.objects import Directory, File, HostObject, Link, SystemUser, Unit
from provisioning.hosts.route import Destination
from provisioning.hosts.runner import Ran
from provisioning.hosts.sending import ARGV
from provisioning.hosts.state import HostState
from provisioning.hosts.steps import declared

#: TCP, greeting, what both can do, keys, service, the offer of a key, the login
CONNECT_TRIPS = 7
#: a channel, a program, its input and output
RUN_TRIPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What stands on one host."""

    paths: Mapping[str, Any]
    users: Mapping[str, Any]
    units: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the agent says when it is asked about a host like this."""
        for path, question in asked["paths"].items():
            wanted = question.get("wanted")
            assert not wanted or path not in self.paths or wanted == self.paths[path].get("sha256"), path
        paths = sorted({*asked["paths"], *self.manifest["paths"]})
        units = sorted({*asked["units"], *self.manifest["units"]})
        seen = {
            "paths": {path: self.paths[path] for path in paths if path in self.paths},
            "users": {name: self.users[name] for name in asked["users"] if name in self.users},
            "units": {name: self.units[name] for name in units if name in self.units},
            "manifest": self.manifest,
        }
        free = dict.fromkeys(SPACES, 10**10)
        return {"event": "seen", **seen, "fingerprint": fingerprint(seen), "free": free}


def world(fleet: Fleet, host: str, release: str, material: Material) -> World:
    """Return a host that was provisioned from nothing, and has not changed since."""
    instances = first_instances(fleet, host, release)
    source = FromFile(fleet=fleet, host=host, release=release, material=material)
    objects = source.objects(instances)
    ours = declared(HostState(objects))
    restarts = {thing.name: {"restart_on": thing.restart_on} for thing in objects if isinstance(thing, Unit)}
    paths = {thing.path: _placed(thing) for thing in objects if isinstance(thing, Directory | File | Link)}
    mark = File(path=mark_of(release), content=b"")
    return World(
        paths={**paths, mark.path: {**_placed(mark), "ours": False}},
        users={thing.name: _user(thing) for thing in objects if isinstance(thing, SystemUser)},
        units={thing.name: _unit(thing) for thing in objects if isinstance(thing, Unit)},
        manifest={"paths": ours["paths"], "units": restarts},
    )


def _placed(thing: HostObject) -> dict[str, Any]:
    match thing:
        case File():
            digest = hashlib.sha256(thing.content or b"").hexdigest()
            return {"type": "file", "sha256": digest, **_rights(thing)}
        case Directory():
            return {"type": "directory", **_rights(thing)}
        case Link():
            # Every link has these.
            rights = {"owner": "root", "group": "root", "mode": 0o777, "ours": True}
            return {"type": "link", "target": thing.target, **rights}
    raise TypeError(f"a worker host has no {type(thing).__name__}")


def _rights(thing: File | Directory) -> dict[str, Any]:
    return {"owner": thing.owner, "group": thing.group, "mode": thing.mode, "ours": True}


def _user(thing: SystemUser) -> dict[str, Any]:
    return {"home": thing.home, "shell": thing.shell, "groups": list(thing.groups)}


def _unit(thing: Unit) -> dict[str, Any]:
    return {
        "exists": True,
        "enabled": thing.enabled,
        "active": thing.active,
        "ending": False,
        "status": "",
        "since": 100.0,
        "run": "",
        "restart_on": thing.restart_on,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDoor:
    """The way to hosts that have ``release``."""

    fleet: Fleet
    release: Release
    materials: Mapping[str, Material]
    #: for each way there and back
    latency_seconds: float

    def runner(
        self, destination: Destination, *, sudo_password: SudoPassword | None = None
    ) -> "SimulatedRunner":
        del sudo_password
        return SimulatedRunner(destination.host.name, self)


class SimulatedRunner:
    """One host. It is thought up when it is first asked, and forgotten when the connection is closed."""

    def __init__(self, name: str, door: SimulatedDoor) -> None:
        self.name = name
        self._door = door
        self._world: World | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        """Answer as a host would, as late as one would."""
        del as_root, timeout_seconds
        door = self._door
        time.sleep(door.latency_seconds * (RUN_TRIPS + (0 if self._world else CONNECT_TRIPS)))
        if self._world is None:
            self._world = world(door.fleet, self.name, door.release.name, door.materials[self.name])
        if tuple(argv) == FACTS_ARGV:
            said = facts(door.release)
        else:
            assert tuple(argv) == ARGV, argv
            request = request_in(b"".join(stdin))
            assert request["verb"] == "observe", request["verb"]
            said = json.dumps(self._world.answer(request["asked"])).encode() + b"\n"
        return Ran(exit_code=0, stdout=said, stderr=b"")

    def close(self) -> None:
        """Forget the host."""
        self._world = None


def facts(release: Release) -> bytes:
    """Return what a host says of itself that the release is made for."""
    target = release.target
    python = ".".join(map(str, target.python))
    return f"{python} {target.machine} glibc-2.{target.glibc_minor}\n".encode()


def request_in(sent: bytes) -> dict[str, Any]:
    """Return the request in what is sent to the agent."""
    stream = io.BytesIO(sent)
    stream.read(int(stream.readline()))
    found: dict[str, Any] = json.loads(stream.read(int(stream.readline())))
    return found
