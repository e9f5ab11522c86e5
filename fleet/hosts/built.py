"""Was this very release built before? Told by what its files look like, without reading them.

Even where all its parts are there a release takes a while to build, and every look at a host needs one. A
file that was written since has another moment of change, which no program can set; a package that was
installed since has changed the directory that it lies in.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import fleet
from fleet.hosts.archives import find, place
from fleet.hosts.cache import write_whole
from fleet.hosts.install import Release
from fleet.hosts.target import Target
from fleet.model import Fleet

_PACKAGES = ("fleet", "provisioning")
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def stamp(
    declared: Fleet, target: Target, *, cache: Path, wheels: Sequence[Path], extras: Iterable[str]
) -> str:
    """Return a digest that is another one when a release could be another one."""
    looks = [_look(path) for path in sorted(_inputs(declared, target, cache, wheels))]
    facts = [sys.version, sorted(asdict(target).items()), sorted(extras), looks]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def recall(stamped: str, target: Target, *, cache: Path) -> Release | None:
    """Return what was built with this stamp; None where that is not known, or its archive is gone."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(_note(target, cache, stamped).read_text(encoding="utf-8"))
        return find(known["name"], target, cache=cache)
    return None


def remember(stamped: str, release: Release, *, cache: Path) -> None:
    """Note what was built with this stamp."""
    write_whole(_note(release.target, cache, stamped), json.dumps({"name": release.name}).encode())


def forget(target: Target, *, cache: Path) -> None:
    """Drop the notes on archives of ``target`` that are gone."""
    there = {path.name.removesuffix(".tar.gz") for path in place(target, cache).glob("*.tar.gz")}
    for note in (place(target, cache) / "built").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(note.read_text(encoding="utf-8"))["name"] not in there:
                note.unlink()


def _note(target: Target, cache: Path, stamped: str) -> Path:
    return place(target, cache) / "built" / f"{stamped}.json"


def _inputs(declared: Fleet, target: Target, cache: Path, wheels: Sequence[Path]) -> Iterator[str]:
    ours = Path(fleet.__file__).parents[1]
    for package in _PACKAGES:
        yield from _below(ours / package)
    beside = Path(declared.source).resolve().parent
    for top in {module.partition(".")[0] for module in declared.user_tasks.imports}:
        yield str(beside / f"{top}.py")
        yield from _below(beside / top)
    for fetched in (cache / "wheels").glob(f"{target.name}-*"):
        yield from _below(fetched)
    yield from map(str, wheels)
    # Where packages and what they say of themselves lie.
    yield from {each.rstrip("/") for each in sys.path if Path(each).name in _INSTALLED}


def _below(directory: Path) -> Iterator[str]:
    for above, names, files in os.walk(directory):
        names[:] = [name for name in names if name != "__pycache__"]
        # Texts: to make a path of each takes longer than to look at it.
        yield from (f"{above}/{name}" for name in files if not name.endswith(".pyc"))


def _look(path: str) -> tuple[str, ...]:
    try:
        seen = os.stat(path)  # noqa: PTH116 - see above
    except OSError:
        return (path,)
    return (path, *map(str, (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)))
