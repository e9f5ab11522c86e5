"""Is the key that a host shows the one it is known by? This decides, and neither Paramiko nor Fabric."""

from dataclasses import dataclass
from pathlib import Path

import paramiko

from provisioning.errors import HostAccessRefused
from provisioning.hosts.known_hosts import (
    HostKey,
    KnownKey,
    Standing,
    Verdict,
    algorithms,
    judge,
    keys_of,
    parse,
)
from provisioning.hosts.ssh.config import Endpoint
from provisioning.hosts.ssh.settings import SshSettings


class KnownHosts:
    """The known_hosts files of a run, each read once."""

    def __init__(self, settings: SshSettings) -> None:
        self._fleet = settings.known_hosts
        self._usual = settings.user_known_hosts
        self._read: dict[str, tuple[KnownKey, ...]] = {}

    def judge(self, end: Endpoint, seen: HostKey) -> Verdict:
        """Say whether ``end`` may show the key ``seen``."""
        return judge(self._files(end), end.known_as, seen)

    def key(self, end: Endpoint) -> HostKey | None:
        """Return the first key that ``end`` is known by, or None."""
        return next((known.key for known in keys_of(self._files(end), end.known_as)), None)

    def decides_alone(self, end: Endpoint) -> bool:
        """Tell whether the fleet's own file decides about ``end``: it knows a key of it, or nobody does."""
        if self._fleet is None:
            return False
        return self.key(end) is None or bool(keys_of((self._keys(self._fleet),), end.known_as))

    def algorithms(self, end: Endpoint, offered: tuple[str, ...]) -> tuple[str, ...]:
        """Return ``offered`` in the order in which ``end`` is to be asked for its keys."""
        return algorithms(keys_of(self._files(end), end.known_as), offered)

    def _files(self, end: Endpoint) -> tuple[tuple[KnownKey, ...], ...]:
        own = (self._fleet,) if self._fleet else ()
        usual = self._usual if end.known_hosts is None else end.known_hosts
        # One file of the fleet's decides alone; the user's files count as one.
        users = tuple(key for name in usual for key in self._keys(name))
        return (*(self._keys(name) for name in own), users)

    def _keys(self, name: str) -> tuple[KnownKey, ...]:
        if name not in self._read:
            self._read[name] = _load(name)
        return self._read[name]


@dataclass(frozen=True, slots=True)
class Policy:
    """What Paramiko asks about each host key; it knows none itself, so it asks about every one."""

    end: Endpoint
    known: KnownHosts

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        """Return when the host may show this key. Raises HostAccessRefused."""
        del client, hostname
        seen = host_key(key)
        verdict = self.known.judge(self.end, seen)
        if verdict.standing is not Standing.TRUSTED:
            raise _refusal(self.end, seen, verdict)


def host_key(key: paramiko.PKey) -> HostKey:
    """Return Paramiko's ``key`` as a record."""
    return HostKey(type=key.get_name(), blob=key.asbytes())


def _load(name: str) -> tuple[KnownKey, ...]:
    path = Path(name).expanduser()
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"), file=str(path))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HostAccessRefused(f"cannot read the known hosts in {path}: {error.strerror}") from error


def _refusal(end: Endpoint, seen: HostKey, verdict: Verdict) -> HostAccessRefused:
    shown = f"{seen.type} {seen.fingerprint}"
    if verdict.standing is Standing.UNKNOWN:
        return HostAccessRefused(
            f"{end} shows a key that no known_hosts file has: {shown}",
            hint=f"compare it with `ssh-keygen -l` on its console, then `fleet hosts trust {end.name}`",
        )
    places = "; ".join(
        f"{known.key.type} {known.key.fingerprint} in {known.place}" for known in verdict.known
    )
    if verdict.standing is Standing.REVOKED:
        return HostAccessRefused(
            f"{end} shows a key that is revoked: {shown}; it is {places}",
            hint="do not log in; give the host a new key",
        )
    return HostAccessRefused(
        f"the key of {end} has changed, or another machine answers: seen {shown}; known {places}",
        hint="find out why before anything else; if the host was set up anew, "
        f"`fleet hosts trust --replace {end.name}`",
    )
