"""With which units and configuration did a release run on a host? A record there says so, in the release.

It is what makes a release whole again when it comes back: code that is a version older may not understand a
fleet file of today. Passwords, keys and certificates are not kept: an old one would be refused. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fleet.errors import FleetError

VERSION = 1
_CREDENTIAL = "LoadCredential="


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDirectory:
    """A directory that was there."""

    path: str
    owner: str
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file of the configuration."""

    path: str
    #: what is no UTF-8 in it stands as lone surrogates
    content: str
    owner: str
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a release ran with on one host."""

    release: str
    #: worker → slot → text of the unit
    workers: Mapping[str, Mapping[str, str]]
    #: text of beat's unit, where beat ran
    beat: str | None
    directories: tuple[KeptDirectory, ...]
    files: tuple[KeptFile, ...]
    #: paths of certificates and keys that were there besides
    certificates: tuple[str, ...]

    @property
    def credentials(self) -> frozenset[str]:
        """The names of all credentials that its units load."""
        texts = [text for slots in self.workers.values() for text in slots.values()]
        return frozenset().union(*map(loaded, (*texts, self.beat or "")))


def loaded(unit: str) -> frozenset[str]:
    """Return the names of the credentials that the text of a unit asks systemd for."""
    lines = (line for line in unit.splitlines() if line.startswith(_CREDENTIAL))
    return frozenset(line.removeprefix(_CREDENTIAL).split(":")[0] for line in lines)


def dump(kept: Kept) -> bytes:
    """Return ``kept`` as a file, the same for the same."""
    return (json.dumps({"version": VERSION, **asdict(kept)}, indent=1, sort_keys=True) + "\n").encode()


def load(content: bytes) -> Kept:
    """Return what a file says. Raises FleetError for what is no such record."""
    try:
        found = json.loads(content)
        if found["version"] != VERSION:
            raise FleetError(f"the record of what a release ran with has version {found['version']}")
        return Kept(
            release=str(found["release"]),
            workers={name: dict(slots) for name, slots in found["workers"].items()},
            beat=found["beat"],
            directories=tuple(KeptDirectory(**each) for each in found["directories"]),
            files=tuple(KeptFile(**each) for each in found["files"]),
            certificates=tuple(found["certificates"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FleetError(
            f"the record of what a release ran with cannot be read: {type(error).__name__}"
        ) from error
