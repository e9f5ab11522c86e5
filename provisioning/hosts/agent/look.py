"""What stands on this host, of all that somebody asks for or that is ours?"""

import base64
import grp
import hashlib
import json
import os
import pwd
import stat
import sys
from typing import Any

from provisioning.hosts.agent.keeping import read_manifest, started_with
from provisioning.hosts.agent.places import Places, Refused, found_at
from provisioning.hosts.agent.stamps import is_untouched
from provisioning.hosts.agent.systemd import unit_states

#: a larger text is told apart by its digest only
CONTENT_BYTES = 256 * 1024
CHUNK = 1 << 20
#: file systems whose free space is told
SPACES = ("/", "/opt", "/var")
_COMES_AND_GOES = {"active": None, "ending": None, "status": None, "since": None, "run": None}


def look(places: Places, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what stands at the paths, and which users and units there are, asked for or ours."""
    manifest = read_manifest(places, asked["owner"])
    paths: dict[str, Any] = {}
    for path in sorted({*asked["paths"], *manifest["paths"]}):
        ours = manifest["paths"].get(path)
        paths[path] = _look_at(places, path, asked["paths"].get(path) or ours, ours)
    return {
        "paths": {path: found for path, found in paths.items() if found},
        "users": {name: found for name in asked["users"] if (found := _user(name))},
        "units": _units(asked["units"], manifest["units"]),
        "manifest": manifest,
    }


def fingerprint(seen: dict[str, Any]) -> str:
    """Return a digest of all that a plan rests on. Whether a unit runs is left out: it may come and go."""
    units = {name: {**unit, **_COMES_AND_GOES} for name, unit in seen["units"].items()}
    paths = {name: {**found, "content": None} for name, found in seen["paths"].items()}
    facts = json.dumps({**seen, "units": units, "paths": paths}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def free_bytes(places: Places) -> dict[str, int]:
    """Return how much room there is for files that are no user's."""
    free = {}
    for path in SPACES:
        try:
            with places.parent(f"{path.rstrip('/')}/x", writing=False) as (directory, _):
                found = os.fstatvfs(directory)
        except (FileNotFoundError, Refused):
            continue
        free[path] = found.f_bavail * found.f_frsize
    return free


def runtime() -> str:
    """Return which Python runs this, on which machine and over which C library, in three words."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or "-"
    except (OSError, ValueError):
        libc = "-"
    # Without `platform`, which takes longer to load than a host to be looked at.
    version, machine = sys.version_info, os.uname().machine
    return f"{version.major}.{version.minor} {machine} {libc.replace(' ', '-')}"


def holders(places: Places, directory: str, file: str) -> list[str]:
    """Return the names of the directories in ``directory`` that hold a file ``file``."""
    try:
        with places.parent(f"{directory}/x", writing=False) as (opened, _):
            names = sorted(entry.name for entry in os.scandir(opened))
    except (FileNotFoundError, Refused):
        return []
    return [name for name in names if _has_file(places, f"{directory}/{name}/{file}")]


def _has_file(places: Places, path: str) -> bool:
    try:
        with places.parent(path, writing=False) as (directory, name):
            found = found_at(directory, name)
    except (FileNotFoundError, Refused):
        return False
    return found is not None and stat.S_ISREG(found.st_mode)


def _look_at(places: Places, path: str, asked: Any, ours: Any) -> dict[str, Any] | None:
    try:
        with places.parent(path, writing=False) as (directory, name):
            found = found_at(directory, name)
            if found is None:
                return None
            seen = {"owner": _owner(found.st_uid), "group": _group(found.st_gid), "ours": ours is not None}
            seen["mode"] = stat.S_IMODE(found.st_mode)
            seen.update(_kind(directory, name, found, asked, ours or {}))
            return seen
    except FileNotFoundError:
        return None
    except Refused as error:
        return {"type": "blocked", "reason": str(error)}


def _kind(
    directory: int, name: str, found: os.stat_result, asked: dict[str, Any], ours: dict[str, Any]
) -> dict[str, Any]:
    if stat.S_ISLNK(found.st_mode):
        return {"type": "link", "target": os.readlink(name, dir_fd=directory)}
    if stat.S_ISDIR(found.st_mode):
        if asked["kind"] == "tree" and ours.get("kind") == "tree":
            untouched = is_untouched(directory, name, ours.get("stamp"))
            return {"type": "tree", "sha256": ours["sha256"] if untouched else ""}
        return {"type": "directory"}
    if stat.S_ISREG(found.st_mode):
        return {"type": "file", **_content(directory, name, asked, ours)}
    return {"type": "special file"}


def _content(directory: int, name: str, asked: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256()
    start = b""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(CHUNK):
            start = start or chunk
            digest.update(chunk)
        size = file.tell()
    seen: dict[str, Any] = {"sha256": digest.hexdigest()}
    is_secret = asked.get("secret") or ours.get("secret")
    wanted = asked.get("wanted")
    if wanted and wanted != seen["sha256"] and not is_secret and size <= CONTENT_BYTES:
        seen["content"] = base64.b64encode(start).decode()
    return seen


def _user(name: str) -> dict[str, Any] | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return {"home": found.pw_dir, "shell": found.pw_shell, "groups": groups}


def _units(asked: list[str], ours: dict[str, Any]) -> dict[str, Any]:
    states = unit_states(sorted({*asked, *ours}))
    return {
        name: {**state, "restart_on": started_with(ours.get(name, {}), state["run"])}
        for name, state in states.items()
        if state["exists"]
    }


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
