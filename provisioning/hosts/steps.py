"""What is the agent told to do for each change?"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from provisioning.hosts.objects import Directory, File, Link, Placed, SystemUser, Tree, Unit
from provisioning.hosts.state import HostState
from provisioning.plan import Action, Change


def steps(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return one step for each change, in order, without any content."""
    return [{"title": f"{change.action} {change.resource.label}", **_step(change)} for change in changes]


def contents(changes: Sequence[Change]) -> Iterator[tuple[int, bytes | Path]]:
    """Yield what must come along, by the index of its change, in order."""
    for index, change in enumerate(changes):
        after = change.after
        if isinstance(after, Tree):
            assert after.archive is not None
            yield index, after.archive
        elif isinstance(after, File) and after.content is not None and _brings_content(change, after):
            yield index, after.content


def declared(desired: HostState) -> dict[str, object]:
    """Return what is ours from now on."""
    return {
        "paths": {
            thing.path: {"kind": thing.KIND, "secret": isinstance(thing, File) and thing.secret}
            for thing in desired
            if isinstance(thing, Placed)
        },
        "units": [thing.name for thing in desired if isinstance(thing, Unit)],
    }


def _step(change: Change) -> dict[str, Any]:
    if change.action is Action.DELETE:
        return _deletion(change)
    after = change.after
    match after:
        case SystemUser():
            groups = list(after.groups)
            exists = change.before is not None
            user = {"name": after.name, "home": after.home, "shell": after.shell, "groups": groups}
            return {"do": "user", **user, "exists": exists}
        case Directory():
            return {"do": "directory", "path": after.path, **_rights(after)}
        case File():
            brings = _brings_content(change, after)
            file = {"path": after.path, **_rights(after), "sha256": after.digest, "content": brings}
            return {"do": "file", **file}
        case Link():
            return {"do": "link", "path": after.path, "target": after.target}
        case Tree():
            return {"do": "tree", "path": after.path, "sha256": after.digest}
        case Unit():
            return _unit_step(change, after)
    raise TypeError(f"no host has a {type(after).__name__}")


def _unit_step(change: Change, after: Unit) -> dict[str, Any]:
    before = change.before
    is_outdated = isinstance(before, Unit) and before.active is True and after.is_outdated(before)
    return {
        "do": "unit",
        "name": after.name,
        "enabled": after.enabled,
        "active": after.active,
        "files": str(after.on_change) if is_outdated else None,
        "restart_on": after.restart_on,
        "waits": after.waits,
    }


def _deletion(change: Change) -> dict[str, Any]:
    before = change.before
    if isinstance(before, Unit):
        return {"do": "delete unit", "name": before.name}
    assert isinstance(before, Placed)
    return {"do": "delete tree" if isinstance(before, Tree) else "delete", "path": before.path}


def _brings_content(change: Change, after: File) -> bool:
    return not isinstance(change.before, File) or change.before.digest != after.digest


def _rights(thing: Directory | File) -> dict[str, Any]:
    return {"owner": thing.owner, "group": thing.group, "mode": thing.mode}
