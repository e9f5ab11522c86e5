"""Which keys do the hosts show, how are they known, and which are recorded?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.model import Fleet, Host
from fleet.ops.hosts import destination, open_door
from provisioning.errors import ProvisioningError
from provisioning.hosts.known_hosts import HostKey, KnownKey, Standing
from provisioning.hosts.known_hosts_file import Recorded, record
from provisioning.hosts.many import on_each

if TYPE_CHECKING:
    from provisioning.hosts.ssh.config import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A host, or a jump host, and the key that it showed."""

    name: str
    #: its name in known_hosts files
    known_as: str
    #: None where it was not reached
    key: HostKey | None
    standing: Standing | None
    known: tuple[KnownKey, ...] = ()
    error: ProvisioningError | None = None

    def is_recorded_in(self, fleet: Fleet) -> bool:
        """Tell whether the fleet's own known_hosts file has this key."""
        files = {known.file for known in self.known}
        own = str(Path(fleet.ssh.known_hosts).expanduser())
        return self.standing is Standing.TRUSTED and own in files


def look_at_keys(fleet: Fleet, hosts: Sequence[Host], *, seen: frozenset[str]) -> tuple[Shown, ...]:
    """Ask for the keys of the nearest hosts on the way to ``hosts`` that are not in ``seen``.

    Nobody logs in to them. What lies behind a jump host is asked for in the next call, when that one's key
    was looked at and, if need be, recorded.
    """
    door = open_door(fleet)
    ways: dict[str, tuple[Endpoint, ...]] = {}
    for host in hosts:
        ends = door.route(destination(fleet, host))
        nearest = next((at for at, end in enumerate(ends) if end.known_as not in seen), None)
        if nearest is not None:
            ways.setdefault(ends[nearest].known_as, ends[: nearest + 1])
    done = on_each(
        tuple(ways),
        lambda name: door.host_key(ways[name]),
        parallel=fleet.ssh.parallel,
        deadline_seconds=fleet.ssh.deadline_seconds,
    )
    shown = []
    for each in done:
        key, verdict = each.value or (None, None)
        shown.append(
            Shown(
                name=ways[each.name][-1].name,
                known_as=each.name,
                key=key,
                standing=verdict.standing if verdict else None,
                known=verdict.known if verdict else (),
                error=each.error,
            )
        )
    return tuple(shown)


def record_keys(fleet: Fleet, shown: Sequence[Shown]) -> None:
    """Write the keys of ``shown`` to the fleet's known_hosts file, in place of other ones of these hosts."""
    keys = [
        Recorded(known_as=each.known_as, key=each.key, comment=each.name)
        for each in shown
        if each.key is not None
    ]
    if keys:
        record(Path(fleet.ssh.known_hosts).expanduser(), keys)
