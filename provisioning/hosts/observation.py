"""What did a host say that stands there?"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioning.hosts.objects import (
    Directory,
    File,
    HostObject,
    Link,
    Placed,
    SpecialFile,
    SystemUser,
    Tree,
    Unit,
)
from provisioning.hosts.state import HostState
from provisioning.plan import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class HostObservation:
    """A host at one moment, as far as it was asked for or is ours."""

    host: str
    objects: tuple[HostObject, ...] = field(repr=False)
    #: why a path cannot be reached safely, such as a link on the way
    blocked: Mapping[Identity, str]
    #: digest, made on the host, of all that a plan rests on; an apply is refused when it is another one
    fingerprint: str = field(repr=False)
    #: room in bytes below ``/``, ``/opt`` and ``/var``
    free_bytes: Mapping[str, int]
    #: its Python, machine and C library, such as ``3.11 x86_64 glibc-2.36``
    runtime: str = ""
    #: directory → names of those in it that hold the file that was asked for
    holding: Mapping[str, frozenset[str]] = field(default_factory=dict)


def questions(
    desired: HostState, *, contents: bool, holding: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return what the agent is asked about; with ``contents`` also for the text of files that differ.

    ``holding`` names directories, each with a file: which directories in them hold it?
    """
    return {
        "owner": desired.owner,
        "paths": {
            thing.path: _question(thing, contents=contents) for thing in desired if isinstance(thing, Placed)
        },
        "users": sorted(thing.name for thing in desired if isinstance(thing, SystemUser)),
        "units": sorted(thing.name for thing in desired if isinstance(thing, Unit)),
        "holding": dict(holding or {}),
    }


def read(host: str, said: Mapping[str, Any], desired: HostState) -> HostObservation:
    """Return what the agent said as records; what is declared secret, or was, is taken for secret."""
    declared = {thing.path for thing in desired if isinstance(thing, File) and thing.secret}
    known = {path for path, entry in said["manifest"]["paths"].items() if entry.get("secret")}
    paths = {path: found for path, found in said["paths"].items() if found["type"] != "blocked"}
    placed = [_placed(path, found, secret=path in declared | known) for path, found in paths.items()]
    users = [_user(name, found) for name, found in said["users"].items()]
    units = [_unit(name, found) for name, found in said["units"].items()]
    blocked: dict[Identity, str] = {
        ("path", path): str(found["reason"])
        for path, found in said["paths"].items()
        if found["type"] == "blocked"
    }
    return HostObservation(
        host=host,
        objects=(*users, *placed, *units),
        blocked=blocked,
        fingerprint=str(said.get("fingerprint", "")),
        free_bytes=dict(said.get("free", {})),
        runtime=str(said.get("runtime", "")),
        holding={directory: frozenset(names) for directory, names in said.get("holding", {}).items()},
    )


def _question(thing: Placed, *, contents: bool) -> dict[str, object]:
    if isinstance(thing, File):
        wanted = thing.digest if contents and not thing.secret else None
        return {"kind": thing.KIND, "secret": thing.secret, "wanted": wanted}
    return {"kind": thing.KIND}


def _placed(path: str, found: Mapping[str, Any], *, secret: bool) -> Placed:
    ours = bool(found["ours"])
    match found["type"]:
        case "file":
            content = base64.b64decode(found["content"]) if "content" in found else None
            return File(
                path=path,
                content=content,
                owner=found["owner"],
                group=found["group"],
                mode=found["mode"],
                secret=secret,
                digest=found["sha256"],
                ours=ours,
            )
        case "directory":
            return Directory(
                path=path, owner=found["owner"], group=found["group"], mode=found["mode"], ours=ours
            )
        case "tree":
            return Tree(path=path, digest=found["sha256"], ours=ours)
        case "link":
            return Link(path=path, target=found["target"], ours=ours)
        case _:
            return SpecialFile(path=path, ours=ours)


def _user(name: str, found: Mapping[str, Any]) -> SystemUser:
    return SystemUser(name=name, home=found["home"], shell=found["shell"], groups=tuple(found["groups"]))


def _unit(name: str, found: Mapping[str, Any]) -> Unit:
    return Unit(
        name=name,
        enabled=found["enabled"],
        active=found["active"],
        restart_on=str(found["restart_on"]),
        ending=found["ending"],
        status=str(found["status"]),
        since=float(found["since"]),
    )
