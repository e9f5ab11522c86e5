"""What does a host remember of its provisioning: what is ours, what was done, and who is at it now?"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioning.hosts.agent.places import Places, Refused

MANIFEST = "/var/lib/fleet-provision/{owner}.json"
LOCK = "/run/fleet-provision/lock"
AUDIT = "/var/log/fleet/audit.jsonl"
MANIFEST_VERSION = 1

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_manifest(places: Places, owner: str) -> dict[str, Any]:
    """Return ``paths`` and ``units`` that are the owner's; nothing on a host that was never provisioned."""
    path = MANIFEST.format(owner=owner)
    try:
        with places.parent(path) as (directory, name):
            descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return {"paths": {}, "units": {}}
    with os.fdopen(descriptor, "rb") as file:
        try:
            found = json.load(file)
            if found["version"] != MANIFEST_VERSION:
                raise Refused(f"`{path}` has version {found['version']}, not {MANIFEST_VERSION}")
            return {"paths": dict(found["paths"]), "units": dict(found["units"])}
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"`{path}` cannot be read: {type(error).__name__}") from error


def about_to_start(unit: dict[str, Any], *, run: str, restart_on: str) -> dict[str, Any]:
    """Return what is kept of a unit that is to start with other files than in its ``run``, which may be over.

    A host that loses power meanwhile starts it with them when it boots.
    """
    return {"restart_on": unit["restart_on"], "next": {"restart_on": restart_on, "after": run}}


def started_with(unit: dict[str, Any], run: str) -> str:
    """Return the digest of the files that a unit, of which ``unit`` was kept, was started with in ``run``."""
    to_come = unit.get("next")
    if to_come and run and run != to_come["after"]:
        return str(to_come["restart_on"])
    return str(unit.get("restart_on", ""))


def write_manifest(places: Places, owner: str, manifest: dict[str, Any]) -> None:
    """Replace the manifest; it is for root only, because it tells secrets apart."""
    path = MANIFEST.format(owner=owner)
    places.ensure_above(path)
    text = json.dumps({"version": MANIFEST_VERSION, **manifest}, sort_keys=True, indent=1)
    with places.parent(path) as (directory, name):
        temporary = f".{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


@contextmanager
def locked(places: Places, who: str, reason: str) -> Iterator[None]:
    """Keep every other apply away. The kernel lets go of the lock when this program ends, however it ends."""
    places.ensure_above(LOCK)
    with places.parent(LOCK) as (directory, name):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(_told_holder(file.read()), why="busy") from None
        file.truncate()
        json.dump({"who": who, "since": time.time(), "reason": reason}, file)
        file.flush()
        yield


class Audit:
    """The log of what was done on this host. Open before anything is done, so that nothing is done unseen."""

    def __init__(self, places: Places) -> None:
        places.ensure_above(AUDIT)
        with places.parent(AUDIT) as (directory, name):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(name, flags, 0o644, dir_fd=directory)
        os.fchmod(self._descriptor, 0o644)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line and see it on the disk."""
        line = json.dumps({"at": time.time(), **entry, "login": _login(), "address": _address()})
        os.write(self._descriptor, self._beginning() + line.encode() + b"\n")
        os.fsync(self._descriptor)

    def _beginning(self) -> bytes:
        """Return what ends a line that was cut short, by a crash or a full disk: it is lost alone."""
        size = os.fstat(self._descriptor).st_size
        is_whole = not size or os.pread(self._descriptor, 1, size - 1) == b"\n"
        return b"" if is_whole else b"\n"


def read_audit(places: Places, limit: int) -> list[Any]:
    """Return the last ``limit`` entries, oldest first; a line that a crash cut short is passed over."""
    try:
        with places.parent(AUDIT, writing=False) as (directory, name):
            descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        lines = file.readlines()[-limit:]
    return [entry for line in lines if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _told_holder(text: str) -> str:
    try:
        found = json.loads(text)
        age = max(0, round(time.time() - found["since"]))
        why = f" ({found['reason']})" if found.get("reason") else ""
        return f"`{found['who']}` has been changing it for {age} s{why}"
    except (ValueError, KeyError, TypeError):
        return "somebody else is changing it"


def _login() -> str:
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or str(os.getuid())


def _address() -> str | None:
    return (os.environ.get("SSH_CONNECTION") or "").split(" ")[0] or None
