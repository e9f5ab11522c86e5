"""One machine of a lab: what can be done to it, and what can be asked of it?"""

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.lab.cgroups import ControlGroup
from tests.hosts.lab.disk import UNPACK, File, archive
from tests.hosts.lab.layers import Image
from tests.hosts.lab.machine import Boot, MachinePlan, await_ready
from tests.hosts.lab.namespaces import Overlay
from tests.hosts.lab.network import Network
from tests.hosts.lab.ssh import Keyring
from tests.hosts.lab.system import LabFailed, program_environ

BOOT_SECONDS = 120.0
SHUT_DOWN_SECONDS = 90.0
COMMAND_SECONDS = 60.0
NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}/24
LinkLocalAddressing=no
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """What a host is made of."""

    name: str
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a host stands in its lab."""

    lab: str
    #: number of the host in the lab: 0, 1, …
    index: int
    directory: Path
    network: Network
    keyring: Keyring
    #: the text of /etc/hosts, the same for all hosts of a lab
    names: str


class Host:
    """A machine that is on or off. Its disk outlives both, until ``reset``."""

    def __init__(self, spec: HostSpec, place: Place, lowers: Sequence[Path]) -> None:
        self.name = spec.name
        self.address = place.network.address(place.index)
        #: nothing has run on it since its disk was made
        self.is_fresh = True
        self._place = place
        self._disk = Overlay(
            lowers=tuple(lowers),
            upper=place.directory / "upper",
            work=place.directory / "work",
            mounted=place.directory / "mounted",
        )
        self._group = ControlGroup(f"{place.network.bridge}/{spec.name}")
        self._boot: Boot | None = None
        self._declared: tuple[File, ...] = ()
        self._make_disk()

    @property
    def is_on(self) -> bool:
        """Tell whether it runs."""
        return self._boot is not None and self._boot.is_alive

    @property
    def is_plugged(self) -> bool:
        """Tell whether its cable passes packets."""
        return self.is_on and self._place.network.is_plugged(self._place.index)

    @property
    def cable(self) -> str:
        """The interface of this machine that ends in the host."""
        return self._place.network.cable(self._place.index)

    @property
    def ssh_config(self) -> Path:
        """What `ssh -F` takes to know this host by its name."""
        return self._place.keyring.config

    def declare(self, *files: File) -> None:
        """Write files that it shall have from its first boot on, after a ``reset`` too. It must be off."""
        if self.is_on:
            raise LabFailed(f"host `{self.name}` is on")
        self._declared += files
        self._write(files)

    def start(self) -> Boot:
        """Switch it on and return the boot, to be awaited. It is killed when the calling thread ends."""
        if self.is_on:
            raise LabFailed(f"host `{self.name}` is on already")
        self._forget()
        self.is_fresh = False
        self._group.create()
        network = self._place.network
        plan = MachinePlan(
            hostname=self.name,
            machine=network.machine(self._place.index),
            bridge=network.bridge,
            disk=self._disk,
            entrances=self._group.entrances,
        )
        self._boot = Boot(plan, self._place.directory)
        return self._boot

    def boot(self, *, timeout_seconds: float = BOOT_SECONDS) -> None:
        """Switch it on and return once its systemd says that it is up. Raises LabFailed."""
        await_ready([self.start()], timeout_seconds=timeout_seconds)

    def power_off(self) -> None:
        """Cut its power: everything on it ends at once, and its disk stays as it is."""
        self._group.kill()
        self._forget()

    def shut_down(self, *, timeout_seconds: float = SHUT_DOWN_SECONDS) -> None:
        """Let its systemd stop everything in order and switch it off. Raises LabFailed."""
        boot = self._running()
        boot.shut_down()
        if not boot.wait(timeout_seconds):
            raise LabFailed(f"host `{self.name}` did not shut down within {timeout_seconds:g} s")
        self.power_off()

    def reboot(self) -> None:
        """Shut it down in order and boot it again."""
        self.shut_down()
        self.boot()

    def reset(self) -> None:
        """Cut its power and give it a new disk."""
        self.power_off()
        self._make_disk()

    def unplug(self) -> None:
        """Pull its network cable: its carrier is gone, and it knows."""
        self._place.network.unplug(self._place.index)

    def silence(self) -> None:
        """Lose every packet from and to it, while its carrier stays: nobody is told."""
        self._place.network.silence(self._place.index)

    def plug(self) -> None:
        """Undo ``unplug`` and ``silence``."""
        self._place.network.plug(self._place.index)

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        user: str = "root",
        check: bool = True,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> str:
        """Run a command over SSH, as an operator would, and return its stdout.

        Raises LabFailed with the host's own words when it fails (255 is SSH's own) or takes too long.
        """
        ssh = ("ssh", "-F", str(self.ssh_config), "-l", user, "--", self.name, shlex.join(argv))
        return self._call(ssh, argv, stdin, check=check, timeout_seconds=timeout_seconds).decode()

    def console(
        self,
        *argv: str,
        stdin: bytes = b"",
        check: bool = True,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> str:
        """Run a command as root without the network, as at a machine's own console; return its stdout."""
        self._running()
        return self._inside(argv, stdin, check=check, timeout_seconds=timeout_seconds).decode()

    def put(self, path: str, content: bytes | str | Path, *, mode: int = 0o644, owner: str = "root") -> None:
        """Write a file, whether the host is on or off; directories above it are made. Raises LabFailed."""
        data = content.read_bytes() if isinstance(content, Path) else _bytes(content)
        self.is_fresh = False
        self._write([File(path=path, content=data, mode=mode, owner=owner)])

    def read(self, path: str) -> bytes:
        """Return a file's content, whether the host is on or off. Raises LabFailed when there is none."""
        return self._inside(("cat", "--", path), b"")

    def journal(self, unit: str | None = None) -> str:
        """Return what its systemd logged since it booted, of ``unit`` or of everything."""
        chosen = (f"--unit={unit}",) if unit else ()
        return self.console("journalctl", "--boot", "--no-pager", "--output=short-iso-precise", *chosen)

    def failed_units(self) -> tuple[str, ...]:
        """Return the units that are in state failed."""
        listed = self.console("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full")
        return tuple(line.split()[0] for line in listed.splitlines())

    def memory_bytes(self) -> int:
        """Return the memory of its processes, of shared pages a fair part each."""
        return self._group.memory_bytes()

    def _running(self) -> Boot:
        if self._boot is None or not self._boot.is_alive:
            raise LabFailed(f"host `{self.name}` is off")
        return self._boot

    def _forget(self) -> None:
        if self._boot is not None:
            self._boot.kill()
            self._boot = None
            self._place.network.drop_cable(self._place.index)

    def _make_disk(self) -> None:
        for place in (self._disk.upper, self._disk.work):
            shutil.rmtree(place, ignore_errors=True)
        self._disk.create()
        identity = hashlib.md5(f"{self._place.lab}/{self.name}".encode(), usedforsecurity=False).hexdigest()
        own = (
            File(path="/etc/hostname", content=f"{self.name}\n".encode()),
            File(path="/etc/hosts", content=self._place.names.encode()),
            File(path="/etc/machine-id", content=f"{identity}\n".encode(), mode=0o444),
            File(
                path="/etc/systemd/network/10-lab.network",
                content=NETWORK.format(address=self.address).encode(),
            ),
            *self._place.keyring.files(self.name),
        )
        self._write((*own, *self._declared))
        self.is_fresh = True

    def _write(self, files: Sequence[File]) -> None:
        self._inside(UNPACK, archive(files))

    def _inside(
        self,
        argv: Sequence[str],
        stdin: bytes,
        *,
        check: bool = True,
        timeout_seconds: float = COMMAND_SECONDS,
    ) -> bytes:
        """Run ``argv`` on the host without the network, or on its disk while it is off."""
        if self.is_on:
            command: Sequence[str] = ("nsenter", f"--target={self._running().leader}", "--all", "--", *argv)
        else:
            command = self._disk.within(*argv)
        return self._call(command, argv, stdin, check=check, timeout_seconds=timeout_seconds)

    def _call(
        self,
        command: Sequence[str],
        meant: Sequence[str],
        stdin: bytes,
        *,
        check: bool,
        timeout_seconds: float,
    ) -> bytes:
        what = f"`{' '.join(meant)[:200]}` on host `{self.name}`"
        try:
            done = subprocess.run(
                command,
                env=program_environ(),
                input=stdin,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabFailed(f"{what} took longer than {timeout_seconds:g} s") from error
        if check and done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")[-1000:]
            raise LabFailed(f"{what} ended with {done.returncode}: {said}")
        return done.stdout


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
