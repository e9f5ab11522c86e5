"""How do hosts become a lab, and how does it end without a trace?"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from fleet.daemons.process import silent
from tests.hosts.lab.claims import Claim, claim
from tests.hosts.lab.host import BOOT_SECONDS, Host, HostSpec, Place
from tests.hosts.lab.images import provide
from tests.hosts.lab.machine import await_ready
from tests.hosts.lab.network import Network
from tests.hosts.lab.ssh import Keyring
from tests.hosts.lab.system import LabFailed, lab_root, let_many_watch_files, require_lab

#: bytes that the path of a socket may have
SOCKET_PATH = 107
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


class Lab:
    """A network of hosts. Declared at its start, each host is made and booted when it is first asked for."""

    def __init__(self, held: Claim, specs: Sequence[HostSpec], report: Callable[[str], None]) -> None:
        self.name = held.record.name
        self.directory = held.directory
        self.network = Network(held.record.slot)
        #: what `ssh -F` takes
        self.keyring = Keyring(directory=held.directory / "ssh")
        self._addresses = held.record.hosts
        self._held = held
        self._specs = {spec.name: (index, spec) for index, spec in enumerate(specs)}
        self._hosts: dict[str, Host] = {}
        self._report = report

    @classmethod
    def start(
        cls,
        name: str,
        specs: Sequence[HostSpec],
        *,
        root: Path | None = None,
        is_kept: bool = False,
        report: Callable[[str], None] = silent,
    ) -> Self:
        """Take a name and a network. No host is on yet. ``is_kept`` says that a person may end it.

        Raises LabMissing (this machine cannot carry a lab), LabFailed (name in use).
        """
        require_lab()
        names = tuple(spec.name for spec in specs)
        _require_short(root or lab_root(), name, names)
        for one in (name, *names):
            if not NAME.fullmatch(one):
                raise LabFailed(f"`{one}` is no name for a lab or host: lower case letters, digits and `-`")
        let_many_watch_files()
        held = claim(name, names, root or lab_root(), is_kept=is_kept, report=report)
        lab = cls(held, specs, report)
        try:
            lab.keyring.create(held.record.hosts)
        except BaseException:
            lab.close()
            raise
        return lab

    def __getitem__(self, name: str) -> Host:
        """Return the host of that name, on or off; its image is built when it is missing."""
        if name not in self._hosts:
            index, spec = self._specs[name]
            directory = self.directory / "hosts" / name
            directory.mkdir(parents=True, exist_ok=True)
            place = Place(
                lab=self.name,
                index=index,
                directory=directory,
                network=self.network,
                keyring=self.keyring,
                names=self._names(),
            )
            lowers = provide(spec.image, root=self._held.root, report=self._report)
            self._hosts[name] = Host(spec, place, lowers)
        return self._hosts[name]

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts that have been asked for so far."""
        return tuple(self._hosts.values())

    def boot(self, *names: str, timeout_seconds: float = BOOT_SECONDS) -> None:
        """Switch on those of ``names`` (all by default) that are off, side by side; return once all are up.

        Raises LabFailed.
        """
        wanted = [self[name] for name in names or self._specs]
        boots = [host.start() for host in wanted if not host.is_on]
        await_ready(boots, timeout_seconds=timeout_seconds, report=self._report)

    def partition(self, *sides: Sequence[str]) -> None:
        """Let no packet pass between hosts of different ``sides``; nobody's carrier goes. The rest hears all.

        A host sends to a neighbour by its hardware address: a wrong one, and the packets reach nobody.
        """
        for side in sides:
            others = [name for other in sides if other is not side for name in other]
            for name in side:
                for other in others:
                    self._neighbour(name, other, "replace", "lladdr", "02:00:00:00:00:00", "nud", "permanent")

    def heal(self, *names: str) -> None:
        """Undo ``partition`` between ``names``, and plug their cables in."""
        for name in names:
            self[name].plug()
            for other in names:
                if other != name:
                    self._neighbour(name, other, "replace", "lladdr", "02:00:00:00:00:00", "nud", "failed")
                    self._neighbour(name, other, "delete")

    def close(self) -> None:
        """End every host at once and remove everything but the images."""
        try:
            for host in self._hosts.values():
                host.power_off()
        finally:
            self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _neighbour(self, name: str, other: str, verb: str, *more: str) -> None:
        address = self._addresses[other]
        self[name].console("ip", "neighbour", verb, address, "dev", "host0", *more)

    def _names(self) -> str:
        rows = ["127.0.0.1 localhost", f"{self.network.control_address} control"]
        return "\n".join([*rows, *(f"{address} {name}" for name, address in self._addresses.items())]) + "\n"


def _require_short(root: Path, name: str, hosts: Sequence[str]) -> None:
    longest = max((len(host) for host in hosts), default=0)
    if len(str(root / "labs" / name / "hosts")) + longest + len("//notify") > SOCKET_PATH:
        raise LabFailed(f"{root} is too long a path for a lab's sockets", hint="set FLEET_LAB_CACHE")
