"""Which of the locked packages does fleet need to run on a target? Pure: metadata comes in by a function."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: package → what its metadata says that it needs
Requires = Callable[[str], Iterable[str]]


def locked_part(lock: str, wanted: Iterable[str], environment: Mapping[str, str]) -> str:
    """Return the entries of a lock file for the packages ``wanted`` in ``environment``, hashes included.

    They are without markers, which pip would hold against the Python that it runs with.
    """
    names = frozenset(wanted)
    return "".join(
        f"{_unmarked(entry)}\n" for entry in _entries(lock) if _is_wanted(entry, names, environment)
    )


def closure(
    package: str,
    requires: Requires,
    environment: Mapping[str, str],
    *,
    extras: Iterable[str] = (),
    without: Collection[str] = (),
) -> frozenset[str]:
    """Return the normalised names of all that ``package`` with ``extras`` needs, itself left out.

    ``without`` names packages that are left out, and with them what nothing else needs.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [(package, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        for line in requires(name):
            one = Requirement(line)
            if one.marker is not None and not one.marker.evaluate({**environment, "extra": extra}):
                continue
            if canonicalize_name(one.name) in without:
                continue
            needed = [(canonicalize_name(one.name), each) for each in ("", *sorted(one.extras))]
            waiting += [each for each in needed if each not in seen]
            seen.update(needed)
    return frozenset(name for name, _ in seen)


def pins(lock: str) -> Mapping[str, frozenset[str]]:
    """Return, for each package of a lock file, the SHA-256 of the files that may stand for it."""
    return {
        canonicalize_name(re.split("[=<>; ]", entry)[0]): frozenset(
            re.findall(r"sha256:([0-9a-f]{64})", entry)
        )
        for entry in _entries(lock)
    }


def _entries(lock: str) -> Iterator[str]:
    return iter(re.split(r"\n(?=\S)", lock.strip()) if lock.strip() else ())


def _unmarked(entry: str) -> str:
    line, backslash, hashes = entry.partition("\\")
    return f"{line.partition(';')[0].strip()} {backslash}{hashes}"


def _is_wanted(entry: str, names: frozenset[str], environment: Mapping[str, str]) -> bool:
    line = entry.partition("\\")[0].strip()
    name, marker = re.split("[=<>; ]", line)[0], line.partition(";")[2].strip()
    applies = not marker or Marker(marker).evaluate(dict(environment))
    return canonicalize_name(name) in names and applies
