"""How is a daemon started as a child, awaited, and ended without leaving anything behind?

A child has a session of its own, dies with its parent, writes to a log file, and carries a mark in its
environment: whatever it starts inherits the mark, so that even a process that daemonised itself is found.
"""

import errno
import os
import secrets
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import FleetError, UsageError

LOOPBACK = "127.0.0.1"
MARK = "FLEET_DAEMON"
SETPRIV = "/usr/bin/setpriv"
POLL_SECONDS = 0.05
#: below the range from which kernels take ports for outgoing connections, so that none is taken by accident
PORT_RANGE = range(20_000, 32_000)


class DaemonFailed(FleetError):
    """A private daemon did not start, did not answer in time, or would not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start, and where its output goes."""

    #: how the daemon is called in messages
    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    #: file that stdout and stderr are appended to
    log: Path
    cwd: Path | None = None


class Child:
    """A running daemon."""

    def __init__(self, command: Command, process: "subprocess.Popen[bytes]", mark: str) -> None:
        self.command = command
        self._process = process
        #: inherited by everything this child starts; see ``marked``
        self.mark = mark
        self._pidfd = os.pidfd_open(process.pid)

    @classmethod
    def start(cls, command: Command) -> "Child":
        """Start ``command``; it is killed when the thread that called this ends."""
        mark = secrets.token_hex(8)
        with command.log.open("ab") as log:
            process = subprocess.Popen(
                (SETPRIV, "--pdeathsig", "KILL", "--", *command.argv),
                env=dict(command.environ) | {MARK: mark},
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(command, process, mark)

    @property
    def pid(self) -> int:
        """The process id, valid until ``stop`` or ``kill`` has returned."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        return not self.wait(0)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the process to end by itself; return whether it has."""
        if self._pidfd < 0:
            return True
        return bool(select.select([self._pidfd], [], [], timeout_seconds)[0])

    def await_ready(self, probe: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Return once ``probe`` is true. Raises DaemonFailed when the child ends first or time runs out."""
        deadline = time.monotonic() + timeout_seconds
        while not probe():
            if self.wait(POLL_SECONDS):
                raise DaemonFailed(f"{self.command.name} ended while it started:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise DaemonFailed(
                    f"{self.command.name} was not ready within {timeout_seconds:g} s",
                    hint=f"see {self.command.log}",
                )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        if self.is_alive():
            signal.pidfd_send_signal(self._pidfd, number)

    def stop(self, *, grace_seconds: float = 10) -> None:
        """Ask the process to end, wait, and kill whatever of it and its descendants is left."""
        self.signal(signal.SIGTERM)
        self.wait(grace_seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process and all of its descendants, as a power cut would."""
        if self._pidfd < 0:
            return
        # Its process group first: the pid cannot be used again before the leader is reaped below.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        os.close(self._pidfd)
        self._pidfd = -1
        end_marked(self.mark)

    def last_words(self, *, lines: int = 15) -> str:
        """Return the last lines that it wrote to its log."""
        text = self.command.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def silent(message: str) -> None:
    """Report nothing."""
    del message


def end_marked(mark: str, *, timeout_seconds: float = 5) -> None:
    """Kill every process that carries ``mark`` and wait until none is left. Raises DaemonFailed otherwise."""
    deadline = time.monotonic() + timeout_seconds
    while pids := marked(mark):
        for pid in pids:
            _kill_marked(pid, mark)
        if time.monotonic() > deadline:
            raise DaemonFailed(f"processes {pids} would not end")
        time.sleep(POLL_SECONDS)


def _kill_marked(pid: int, mark: str) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at again behind the descriptor: the number may belong to somebody else by now.
        if f"{MARK}={mark}".encode() in _environ(pid):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def marked(mark: str) -> list[int]:
    """Return the living processes whose environment carries ``mark``."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if wanted in _environ(pid)]


def _pids() -> Iterable[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _environ(pid: int) -> list[bytes]:
    # A zombie has an empty environment, a stranger's cannot be read: neither is ours to end.
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def free_ports(count: int) -> tuple[int, ...]:
    """Return ``count`` different TCP ports that are free on loopback at this moment."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            candidate = socket.socket()
            held.append(candidate)
            if not _bind(candidate, secrets.choice(PORT_RANGE)):
                held.pop().close()
        return tuple(int(one.getsockname()[1]) for one in held)
    finally:
        for one in held:
            one.close()


def require_free(port: int, *, option: str) -> None:
    """Raise UsageError when nothing can listen on loopback's ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            reason = "is in use" if in_use else f"cannot be listened on ({error.strerror})"
            raise UsageError(
                f"port {port} {reason} on {LOOPBACK}", hint=f"choose another one with `{option}`"
            ) from error


def accepts(port: int) -> bool:
    """Tell whether something accepts TCP connections on loopback's ``port``."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _bind(one: socket.socket, port: int) -> bool:
    try:
        one.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
