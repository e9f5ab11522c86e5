"""What can stand on a host, as it shall be or as it was seen?

The same records serve for both. A file that was seen has a digest and, at most, a content; whether what
stands at a path is ours says the manifest that the agent keeps on the host.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from provisioning.plan import FieldDiff, Identity

#: in the order in which they are made
KINDS = ("user", "directory", "tree", "file", "link", "special file", "unit")
#: digits of a digest that a plan shows
SHOWN_DIGITS = 12


class HostObject:
    """An object with an identity and with fields that are compared."""

    __slots__ = ()
    KIND: ClassVar[str]
    RANK: ClassVar[int]
    UPDATABLE: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        if "KIND" in vars(cls):
            cls.RANK = KINDS.index(cls.KIND)

    @property
    def identity(self) -> Identity:
        """Kind and key; whatever stands at a path has that path for a key."""
        raise NotImplementedError

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Nothing disappears with another object: a directory is deleted only when it is empty."""
        return ()

    @property
    def label(self) -> str:
        """What an operator calls it."""
        return f"{self.KIND} {self.identity[1]}"

    def differences(self, actual: "HostObject") -> tuple[FieldDiff, ...]:
        """Return the fields of ``actual`` that are not as this object wants them."""
        if type(actual) is not type(self):
            return (FieldDiff(name="type", before=actual.KIND, after=self.KIND),)
        mine, theirs = self.facts(), actual.facts()
        return tuple(
            FieldDiff(name=name, before=theirs[name], after=value)
            for name, value in mine.items()
            if theirs[name] != value
        )

    def facts(self) -> Mapping[str, object]:
        """Return every field besides the identity as JSON-like values, and no digest of a secret."""
        raise NotImplementedError

    def shown(self) -> Mapping[str, object]:
        """Return the telling fields."""
        return self.facts()


class Placed(HostObject):
    """Something that stands at a path."""

    __slots__ = ()
    path: str
    ours: bool

    @property
    def identity(self) -> Identity:
        """A path holds one thing, whatever its kind."""
        return ("path", self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemUser(HostObject):
    """A user that programs run as, with a group of the same name."""

    KIND: ClassVar[str] = "user"
    name: str
    home: str
    shell: str = "/usr/sbin/nologin"
    #: further groups; those that the user has besides are left
    groups: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        """By name."""
        return ("user", self.name)

    def differences(self, actual: HostObject) -> tuple[FieldDiff, ...]:
        """Return what is not as wanted; groups may be more."""
        found = HostObject.differences(self, actual)
        assert isinstance(actual, SystemUser)
        if set(self.groups) <= set(actual.groups):
            return tuple(diff for diff in found if diff.name != "groups")
        return found

    def facts(self) -> Mapping[str, object]:
        """Home, shell and further groups."""
        return {"home": self.home, "shell": self.shell, "groups": sorted(self.groups)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory(Placed):
    """A directory; what is in it is not its own matter."""

    KIND: ClassVar[str] = "directory"
    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755
    #: as seen: we put it there
    ours: bool = field(default=False, compare=False)

    def facts(self) -> Mapping[str, object]:
        """Owner, group and mode."""
        return _rights(self.owner, self.group, self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Placed):
    """A regular file."""

    KIND: ClassVar[str] = "file"
    path: str
    #: None for a file that was seen, unless its content was asked for
    content: bytes | None = field(default=None, repr=False)
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    #: its content appears nowhere, and neither does a digest or length of it
    secret: bool = False
    #: SHA-256 of the content, in hexadecimal; made from the content where there is one
    digest: str = field(default="", repr=False)
    ours: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.content is not None:
            object.__setattr__(self, "digest", hashlib.sha256(self.content).hexdigest())

    def differences(self, actual: HostObject) -> tuple[FieldDiff, ...]:
        """Return what is not as wanted; of a secret only that it differs."""
        if not isinstance(actual, File):
            return HostObject.differences(self, actual)
        rights, theirs = (_rights(f.owner, f.group, f.mode) for f in (self, actual))
        found = [
            FieldDiff(name=name, before=theirs[name], after=value)
            for name, value in rights.items()
            if theirs[name] != value
        ]
        if self.digest == actual.digest:
            return tuple(found)
        if self.secret or actual.secret:
            return (FieldDiff(name="content", before=None, after=None, secret=True), *found)
        return (FieldDiff(name="content", before=short(actual.digest), after=short(self.digest)), *found)

    def facts(self) -> Mapping[str, object]:
        """Owner, group, mode, and which content it is if that is no secret."""
        content = "secret" if self.secret else short(self.digest)
        return {**_rights(self.owner, self.group, self.mode), "content": content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Placed):
    """A symbolic link."""

    KIND: ClassVar[str] = "link"
    path: str
    target: str
    ours: bool = field(default=False, compare=False)

    def facts(self) -> Mapping[str, object]:
        """Where it leads."""
        return {"target": self.target}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree(Placed):
    """A directory that comes as an archive and is never changed afterwards, such as a release."""

    KIND: ClassVar[str] = "tree"
    UPDATABLE: ClassVar[bool] = False
    path: str
    #: SHA-256 of the archive, in hexadecimal; empty as seen when something in the tree was touched
    digest: str
    #: a tar file, packed by gzip or not; None as seen
    archive: Path | None = field(default=None, compare=False)
    ours: bool = field(default=False, compare=False)

    def facts(self) -> Mapping[str, object]:
        """From which archive it came."""
        return {"archive": short(self.digest) if self.digest else "touched since it was put there"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialFile(Placed):
    """A socket, pipe or device that was seen where something else shall stand."""

    KIND: ClassVar[str] = "special file"
    path: str
    ours: bool = field(default=False, compare=False)

    def facts(self) -> Mapping[str, object]:
        """Nothing that matters."""
        return {}


class OnChange(StrEnum):
    """What a running unit needs when the files that it depends on have changed."""

    RESTART = "restart"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit(HostObject):
    """A unit of systemd; its file is a ``File`` of its own."""

    KIND: ClassVar[str] = "unit"
    name: str
    #: whether it starts with the host; None leaves that as it is
    enabled: bool | None = True
    #: whether it runs; None leaves that as it is
    active: bool | None = True
    #: digest of the files it depends on (``digest_of``); empty: changed files do not concern it
    restart_on: str = field(default="", repr=False)
    on_change: OnChange = field(default=OnChange.RESTART, compare=False)
    #: whether a stop is waited for; one that is not goes on for as long as the unit needs
    waits: bool = field(default=True, compare=False)
    #: as seen: it was told to stop, and has not yet
    ending: bool = field(default=False, compare=False)
    #: as seen: what it says of itself
    status: str = field(default="", compare=False)
    #: as seen: when it was started last, in seconds since the host was
    since: float = field(default=0.0, compare=False)

    @property
    def identity(self) -> Identity:
        """By name."""
        return ("unit", self.name)

    def differences(self, actual: HostObject) -> tuple[FieldDiff, ...]:
        """Return what is not as wanted, or that it runs with older files."""
        assert isinstance(actual, Unit)
        found = [
            FieldDiff(name=name, before=theirs, after=mine)
            for name, mine, theirs in (
                ("enabled", self.enabled, actual.enabled),
                ("active", self.active, actual.active),
            )
            if mine is not None and mine != theirs
        ]
        if self.is_outdated(actual):
            found.append(FieldDiff(name="files", before="as it was started", after="changed"))
        return tuple(found)

    def is_outdated(self, actual: "Unit") -> bool:
        """Tell whether it was last started with other files."""
        return bool(self.restart_on) and self.restart_on != actual.restart_on

    def facts(self) -> Mapping[str, object]:
        """Whether it starts with the host and whether it runs; not which files it runs with."""
        return {"enabled": self.enabled, "active": self.active}

    def shown(self) -> Mapping[str, object]:
        """What is asked for."""
        return {name: value for name, value in self.facts().items() if value is not None}


def digest_of(*parts: Placed) -> str:
    """Return a digest of files, links and trees, for ``Unit.restart_on``; only root can read it there."""
    digest = hashlib.sha256()
    for part in sorted(parts, key=lambda part: part.path):
        content = part.digest if isinstance(part, File | Tree) else ""
        digest.update(f"{part.path}\0{sorted(part.facts().items())}\0{content}\0".encode())
    return digest.hexdigest()


def short(digest: str) -> str:
    """Return as much of a digest as tells contents apart for a reader."""
    return f"sha256:{digest[:SHOWN_DIGITS]}"


def _rights(owner: str, group: str, mode: int) -> dict[str, object]:
    return {"owner": owner, "group": group, "mode": f"{mode:04o}"}
