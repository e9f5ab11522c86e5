"""What is in a part of a snapshot, what of it is in the way elsewhere, and did it arrive unchanged?

Symbolic links are compared, never followed.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: paths named in a report
KEPT_PATHS = 20
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a tree holds."""

    files: int
    directories: int
    #: symbolic links, devices, sockets, pipes
    others: int
    #: size of the regular files
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InTheWay:
    """What a restore over existing files would do to them."""

    created: int
    unchanged: int
    replaced: int
    #: how many of the replaced ones were changed after the one in the snapshot
    newer: int
    #: the first of these
    newer_paths: tuple[str, ...]


def survey(tree: Path, parts: tuple[str, ...]) -> Survey:
    """Count what lies at ``parts`` below ``tree``."""
    files = directories = others = size = 0
    for _, found in _walk(tree.joinpath(*parts)):
        if stat.S_ISREG(found.st_mode):
            files += 1
            size += found.st_size
        elif stat.S_ISDIR(found.st_mode):
            directories += 1
        else:
            others += 1
    return Survey(files=files, directories=directories, others=others, bytes=size)


def in_the_way(tree: Path, parts: tuple[str, ...], target: Path) -> InTheWay:
    """Return what restoring ``parts`` of ``tree`` would meet below ``target``."""
    created = unchanged = replaced = newer = 0
    paths: list[str] = []
    for path, wanted in _walk(tree.joinpath(*parts)):
        if stat.S_ISDIR(wanted.st_mode):
            continue
        place = target / path.relative_to(tree)
        there = _lstat(place)
        if there is None:
            created += 1
        elif _looks_equal(wanted, there):
            unchanged += 1
        else:
            replaced += 1
            if there.st_mtime_ns > wanted.st_mtime_ns:
                newer += 1
                paths += [str(place)] if newer <= KEPT_PATHS else []
    return InTheWay(
        created=created, unchanged=unchanged, replaced=replaced, newer=newer, newer_paths=tuple(paths)
    )


def differences(tree: Path, parts: tuple[str, ...], target: Path) -> tuple[str, ...]:
    """Return the first paths below ``target`` that are missing or differ from ``tree``, by their content."""
    found: list[str] = []
    for path, wanted in _walk(tree.joinpath(*parts)):
        place = target / path.relative_to(tree)
        if not _is_same(path, wanted, place):
            found.append(str(place))
            if len(found) >= KEPT_PATHS:
                break
    return tuple(found)


def _walk(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    waiting = [top]
    while waiting:
        path = waiting.pop()
        found = path.lstat()
        yield path, found
        if stat.S_ISDIR(found.st_mode):
            waiting.extend(sorted(path.iterdir(), reverse=True))


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _looks_equal(wanted: os.stat_result, there: os.stat_result) -> bool:
    # rsync restores times to the second on file systems that keep no more.
    return (
        stat.S_IFMT(wanted.st_mode) == stat.S_IFMT(there.st_mode)
        and wanted.st_size == there.st_size
        and int(wanted.st_mtime) == int(there.st_mtime)
    )


def _is_same(path: Path, wanted: os.stat_result, place: Path) -> bool:
    there = _lstat(place)
    if there is None or stat.S_IFMT(there.st_mode) != stat.S_IFMT(wanted.st_mode):
        return False
    if stat.S_ISLNK(wanted.st_mode):
        return path.readlink() == place.readlink()
    if stat.S_ISREG(wanted.st_mode):
        return there.st_size == wanted.st_size and _digest(path) == _digest(place)
    return True


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
