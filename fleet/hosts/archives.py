"""Which archives of releases does the control machine keep, and for how long?

Beside each lies what is to be known of it; that is written last, so an archive without it is none.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.errors import FleetError
from fleet.hosts.cache import Held, drop, write_whole
from fleet.hosts.install import Release
from fleet.hosts.target import Target

#: archives of each target that stay, those that were used last
KEEP = 5


def find(name: str, target: Target, *, cache: Path) -> Release | None:
    """Return the release of this name; None where its archive is gone, or is not what was written.

    For as long as the record that is returned lives, no run drops the archive.
    """
    archive = place(target, cache) / f"{name}.tar.gz"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = _known(archive)
        held = Held(archive)
        if held.size == known["size"]:
            # Those that were used last stay.
            os.utime(archive)
            digest, compiled = known["digest"], known["compiled"]
            return Release(
                name=name, digest=digest, archive=archive, target=target, is_compiled=compiled, held=held
            )
        held.close()
    return None


def put(
    name: str, target: Target, content: bytes, *, cache: Path, is_compiled: bool, parts: Iterable[str]
) -> Release:
    """Keep ``content`` as the archive of the release of this name, made of ``parts``, and find it."""
    archive = place(target, cache) / f"{name}.tar.gz"
    known = {
        "digest": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "compiled": is_compiled,
        "parts": sorted(parts),
    }
    write_whole(archive, content)
    write_whole(_facts(archive), json.dumps(known).encode())
    made = find(name, target, cache=cache)
    if made is None:
        raise FleetError(f"`{archive}` is not what was written a moment ago")
    return made


def drop_old(target: Target, *, cache: Path, keep: int = KEEP) -> frozenset[str]:
    """Remove all archives of ``target`` but the newest ``keep`` and those that a run holds.

    Returns the parts that the others are made of.
    """
    for half in place(target, cache).rglob(".part-*"):
        # Of a run that was killed: who writes is alone.
        half.unlink(missing_ok=True)
    archives = sorted(place(target, cache).glob("*.tar.gz"), key=_last_use, reverse=True)
    stay = [*archives[:keep], *(archive for archive in archives[keep:] if not drop(archive))]
    for archive in archives:
        if archive not in stay:
            _facts(archive).unlink(missing_ok=True)
    parts: set[str] = set()
    for archive in stay:
        with suppress(OSError, ValueError, KeyError, TypeError):
            parts.update(_known(archive)["parts"])
    return frozenset(parts)


def place(target: Target, cache: Path) -> Path:
    """Return the directory of the archives of ``target``."""
    return cache / "releases" / target.exact


def _facts(archive: Path) -> Path:
    return archive.with_name(archive.name.replace(".tar.gz", ".json"))


def _known(archive: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(_facts(archive).read_text(encoding="utf-8"))
    return known


def _last_use(archive: Path) -> int:
    try:
        return archive.stat().st_mtime_ns
    except OSError:
        return 0
