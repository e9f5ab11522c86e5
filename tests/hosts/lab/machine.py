"""How is a host's container started, and how does it say that it has booted?

Pure argv, and the boot as an object: a process, a socket that systemd inside reports to, and a way to wait
for several boots at once.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.process import Child, Command, silent
from tests.hosts.lab.namespaces import Overlay
from tests.hosts.lab.system import LabFailed, program_environ

#: enters the control groups named first, up to `--`, then becomes what follows
ENTER = """\
set -eu
while [ "$1" != -- ]; do echo 0 > "$1"; shift; done
shift
exec "$@"
"""
CONTAINER = (
    "systemd-nspawn",
    "--quiet",
    "--boot",
    "--register=no",
    "--keep-unit",
    "--private-users=no",
    "--notify-ready=yes",
    "--link-journal=no",
    "--resolv-conf=off",
    "--timezone=off",
)
#: what systemd inside says once its default target is reached
READY = "READY=1"
#: systemd's signal for an orderly power-off
POWER_OFF = signal.SIGRTMIN + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan:
    """Everything that starting one host needs to know."""

    hostname: str
    #: nspawn's own name for it, of which the name of the cable follows
    machine: str
    bridge: str
    disk: Overlay
    #: files of control groups to enter
    entrances: tuple[str, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that becomes the host."""
        container = (
            *CONTAINER,
            f"--directory={self.disk.mounted}",
            f"--machine={self.machine}",
            f"--hostname={self.hostname}",
            f"--network-bridge={self.bridge}",
        )
        return ("sh", "-c", ENTER, "sh", *self.entrances, "--", *self.disk.around(container))


class Boot:
    """A host's process, from its start to its end."""

    def __init__(self, plan: MachinePlan, directory: Path) -> None:
        """Start it. It is killed when the thread that called this ends."""
        self.name = plan.hostname
        address = directory / "notify"
        address.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(address))
        command = Command(
            name=f"host `{plan.hostname}`",
            argv=plan.argv,
            environ=program_environ() | {"NOTIFY_SOCKET": str(address)},
            log=directory / "console.log",
        )
        self._child = Child.start(command)
        self._leader: int | None = None
        self.is_ready = False

    def fileno(self) -> int:
        """Return what becomes readable when the host has something to say."""
        return self._socket.fileno()

    def hear(self) -> None:
        """Take in what the host has said."""
        while True:
            try:
                lines = self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return
            self.is_ready = self.is_ready or READY in lines

    def stop_hearing(self) -> None:
        """Listen no longer to what the host says, for it must not wait to be heard.

        Its systemd reports each job that takes long. With nobody to take them in, the socket fills up, nspawn
        waits, and behind it process 1 of the host: no unit starts or stops any more.
        """
        self._socket.close()

    @property
    def is_alive(self) -> bool:
        """Tell whether the host runs."""
        return self._child.is_alive()

    @property
    def leader(self) -> int:
        """The process id of the host's own process 1. Raises LabFailed when there is none."""
        if self._leader is None:
            self._leader = _first_inside(self._child.pid)
        if self._leader is None or not self.is_alive:
            raise LabFailed(f"host `{self.name}` is off")
        return self._leader

    def shut_down(self) -> None:
        """Ask the host's systemd to stop everything in order and to power off."""
        pidfd = os.pidfd_open(self.leader)
        try:
            signal.pidfd_send_signal(pidfd, POWER_OFF)
        finally:
            os.close(pidfd)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the host to end by itself; return whether it has."""
        return self._child.wait(timeout_seconds)

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._socket.close()

    def last_words(self) -> str:
        """Return the end of what its console showed."""
        return self._child.last_words()


def await_ready(
    boots: Iterable[Boot], *, timeout_seconds: float, report: Callable[[str], None] = silent
) -> None:
    """Return once all of them have booted. Raises LabFailed when one ends first or time runs out."""
    started = time.monotonic()
    waiting = [boot for boot in boots if not boot.is_ready]
    with selectors.DefaultSelector() as selector:
        for boot in waiting:
            selector.register(boot, selectors.EVENT_READ)
        while waiting:
            left = started + timeout_seconds - time.monotonic()
            # A second at most: the end of a process shows at its pid, not at its socket.
            for key, _ in selector.select(min(1.0, max(0.0, left))):
                assert isinstance(key.fileobj, Boot)
                key.fileobj.hear()
            for boot in [one for one in waiting if one.is_ready]:
                selector.unregister(boot)
                boot.stop_hearing()
                waiting.remove(boot)
                report(f"{boot.name} is up after {time.monotonic() - started:.1f} s")
            _complain(waiting, left, timeout_seconds)


def _complain(waiting: list[Boot], left: float, timeout_seconds: float) -> None:
    for boot in waiting:
        if not boot.is_alive:
            raise LabFailed(f"host `{boot.name}` ended while it booted:\n{boot.last_words()}")
    if waiting and left <= 0:
        names = ", ".join(f"`{boot.name}`" for boot in waiting)
        raise LabFailed(f"{names} not up within {timeout_seconds:g} s:\n{waiting[0].last_words()}")


def _first_inside(pid: int) -> int | None:
    """Return the process below ``pid`` that is number 1 of the innermost of three process namespaces."""
    children = _children()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        numbers = _status(one, "NSpid").split()
        if len(numbers) >= 3 and numbers[-1] == "1":
            return one
        waiting += children.get(one, [])
    return None


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            parent = _status(int(path.name), "PPid")
            found.setdefault(int(parent or 0), []).append(int(path.name))
    return found


def _status(pid: int, field: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:")), "")
