"""Hosts that are as a fleet file says, for a look at hundreds of them: a door that waits as a network does.

What such a host answers is what the agent says on a real one: `tests/hosts/test_simulated_hosts.py` asks a
host of the lab and this one the same, and compares the answers. The agent's own code makes the fingerprint.
Nothing can be changed here, and a question that the real look does not ask is refused.
"""

import base64
import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleet.hosts.bundle import Material
from fleet.hosts.install import Release
from fleet.hosts.target import Target
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
from tests.local_runner import skip_program

#: TCP, greeting, what both can do, keys, service, the offer of a key, the login
CONNECT_TRIPS = 7
#: a channel, a program, its input and output
RUN_TRIPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What stands on one host."""

    paths: Mapping[str, Any]
    #: of the files that are no secrets, by path
    contents: Mapping[str, bytes]
    users: Mapping[str, Any]
    units: Mapping[str, Any]
    manifest: Mapping[str, Any]
    #: which is there, and complete
    release: Release

    def run(self, argv: Sequence[str], stdin: Iterable[bytes]) -> Ran:
        """Answer the one command that a look is, to which ``stdin`` is sent."""
        assert tuple(argv) == ARGV, argv
        request = request_in(b"".join(stdin))
        assert request["verb"] == "observe", request["verb"]
        said = json.dumps(self.answer(request["asked"])).encode() + b"\n"
        return Ran(exit_code=0, stdout=said, stderr=b"")

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the agent says when it is asked about a host like this."""
        paths = sorted({*asked["paths"], *self.manifest["paths"]})
        units = sorted({*asked["units"], *self.manifest["units"]})
        seen = {
            "paths": {
                path: {**self.paths[path], **self._content(path, asked["paths"].get(path, {}))}
                for path in paths
                if path in self.paths
            },
            "users": {name: self.users[name] for name in asked["users"] if name in self.users},
            "units": {name: self.units[name] for name in units if name in self.units},
            "manifest": self.manifest,
        }
        besides = {
            "free": dict.fromkeys(SPACES, 10**10),
            "runtime": runtime(self.release.target),
            "holding": {directory: [self.release.name] for directory in asked["holding"]},
        }
        return {"event": "seen", **seen, **besides, "fingerprint": fingerprint(seen)}

    def _content(self, path: str, question: Mapping[str, Any]) -> dict[str, str]:
        """Return the text of a file that differs from what was asked for."""
        if question.get("wanted") in (None, self.paths[path].get("sha256")):
            return {}
        return {"content": base64.b64encode(self.contents[path]).decode()}


def world(fleet: Fleet, host: str, release: Release, material: Material) -> World:
    """Return a host that was provisioned from nothing, and has not changed since."""
    instances = first_instances(fleet, host, release.name)
    source = FromFile(fleet=fleet, host=host, release=release.name, material=material)
    objects = source.objects(instances)
    ours = declared(HostState(objects))
    restarts = {thing.name: {"restart_on": thing.restart_on} for thing in objects if isinstance(thing, Unit)}
    paths = {thing.path: _placed(thing) for thing in objects if isinstance(thing, Directory | File | Link)}
    return World(
        paths=paths,
        contents={
            thing.path: thing.content or b""
            for thing in objects
            if isinstance(thing, File) and not thing.secret
        },
        users={thing.name: _user(thing) for thing in objects if isinstance(thing, SystemUser)},
        units={thing.name: _unit(thing) for thing in objects if isinstance(thing, Unit)},
        manifest={"paths": ours["paths"], "units": restarts},
        release=release,
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
            self._world = world(door.fleet, self.name, door.release, door.materials[self.name])
        return self._world.run(argv, stdin)

    def close(self) -> None:
        """Forget the host."""
        self._world = None


def runtime(target: Target) -> str:
    """Return what a host says of itself that is a ``target``."""
    python = ".".join(map(str, target.python))
    return f"{python} {target.machine} glibc-2.{target.glibc_minor}"


def request_in(sent: bytes) -> dict[str, Any]:
    """Return the request in what is sent to the agent."""
    stream = io.BytesIO(sent)
    skip_program(stream)
    found: dict[str, Any] = json.loads(stream.read(int(stream.readline())))
    return found
