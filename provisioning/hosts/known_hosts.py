"""Which keys is a host known by, and is the key that it shows one of them?

Reads and writes OpenSSH's format (``man sshd``, SSH_KNOWN_HOSTS FILE FORMAT): plain and hashed names,
``[host]:port``, globs, ``!`` and ``@revoked``. Certificate authorities are not asked: a host is known by its
own key.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

SSH_PORT = 22
_REVOKED = "@revoked"
_HASHED = "|1|"
#: type of key → the signature algorithms that prove it; all others have the type's own name
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A host's public key."""

    #: such as ``ssh-ed25519``
    type: str
    #: as it goes over the wire
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Return what `ssh-keygen -l` shows, such as ``SHA256:x0b…``."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def text(self) -> str:
        """Return type and key as a known_hosts file has them."""
        return f"{self.type} {base64.b64encode(self.blob).decode('ascii')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line of a known_hosts file."""

    key: HostKey
    #: names as they stand there, not yet split
    names: str
    file: str
    #: 1-based
    line: int
    is_revoked: bool = False

    @property
    def place(self) -> str:
        """Return ``file:line``."""
        return f"{self.file}:{self.line}"

    def is_of(self, name: str) -> bool:
        """Tell whether this line means the host ``name`` (as ``known_as`` returns it)."""
        if self.names.startswith(_HASHED):
            return _hash_matches(self.names, name)
        wanted = name.lower()
        patterns = self.names.lower().split(",")
        if any(pattern[:1] == "!" and _matches(pattern[1:], wanted) for pattern in patterns):
            return False
        return any(_matches(pattern, wanted) for pattern in patterns)


class Standing(StrEnum):
    """What known_hosts files say of a key."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What known_hosts files say of a key, and the lines that say it."""

    standing: Standing
    known: tuple[KnownKey, ...] = ()


def known_as(host: str, port: int) -> str:
    """Return the name under which known_hosts files hold the keys of ``host``."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def parse(text: str, *, file: str) -> tuple[KnownKey, ...]:
    """Return the keys of a known_hosts file; lines that hold none are passed over, as OpenSSH does."""
    found = (_line(line, file, number) for number, line in enumerate(text.splitlines(), 1))
    return tuple(key for key in found if key is not None)


def keys_of(files: Sequence[Sequence[KnownKey]], name: str) -> tuple[KnownKey, ...]:
    """Return the keys that the host is known by: those of the first of ``files`` that knows it."""
    for keys in files:
        of_host = tuple(key for key in keys if not key.is_revoked and key.is_of(name))
        if of_host:
            return of_host
    return ()


def judge(files: Sequence[Sequence[KnownKey]], name: str, seen: HostKey) -> Verdict:
    """Say whether the host ``name`` may show the key ``seen``.

    A key that any of ``files`` calls revoked is refused. Else the first file that knows the host decides, so
    that a key replaced there is not let in by an older one elsewhere.
    """
    revoked = tuple(
        key for keys in files for key in keys if key.is_revoked and key.key == seen and key.is_of(name)
    )
    if revoked:
        return Verdict(standing=Standing.REVOKED, known=revoked)
    known = keys_of(files, name)
    if not known:
        return Verdict(standing=Standing.UNKNOWN)
    same = tuple(key for key in known if key.key == seen)
    return Verdict(standing=Standing.TRUSTED if same else Standing.CHANGED, known=same or known)


def algorithms(known: Iterable[KnownKey], offered: Sequence[str]) -> tuple[str, ...]:
    """Return ``offered`` with the algorithms of the ``known`` keys first.

    A host that has keys of several types then shows the one that is known. Asked in another order, it would
    show another one, which looks like a changed key.
    """
    wanted = [name for key in known for name in _ALGORITHMS.get(key.key.type, (key.key.type,))]
    first = [name for name in dict.fromkeys(wanted) if name in offered]
    return (*first, *(name for name in offered if name not in first))


def with_key(text: str, name: str, key: HostKey, *, comment: str) -> str:
    """Return the known_hosts file ``text`` in which ``key`` is the one key of the host ``name``.

    Other names of a line, and lines that name others by a glob, stay as they are.
    """
    kept = [left for line in text.splitlines() if (left := _without(line, name)) is not None]
    return "".join(f"{line}\n" for line in (*kept, f"{name} {key.text} {comment}"))


def _without(line: str, name: str) -> str | None:
    known = _line(line, "", 0)
    if known is None or known.is_revoked or not known.is_of(name):
        return line
    if known.names.startswith(_HASHED):
        return None
    names = known.names.split(",")
    others = [each for each in names if each.lower() != name]
    return line.replace(known.names, ",".join(others), 1) if others else None


def _line(line: str, file: str, number: int) -> KnownKey | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if marker not in ("", _REVOKED) or len(fields) < 3:
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = _type_in(blob)
    if kind is None or kind != fields[1]:
        return None
    key = HostKey(type=kind, blob=blob)
    return KnownKey(key=key, names=fields[0], file=file, line=number, is_revoked=marker == _REVOKED)


def _type_in(blob: bytes) -> str | None:
    """Return the type that the key itself says it is of."""
    length = int.from_bytes(blob[:4], "big")
    name = blob[4 : 4 + length]
    return name.decode("ascii") if 0 < length == len(name) and name.isascii() else None


def _matches(pattern: str, name: str) -> bool:
    # `[` begins a port here, and no set of characters as in a glob.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part) for part in hashed[len(_HASHED) :].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
