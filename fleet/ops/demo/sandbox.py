"""Where does the demo run? In one directory, calling ``fleet`` as a user would."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fleet.daemons.process import Child, Command
from fleet.daemons.prometheus import PrometheusServer
from fleet.daemons.rabbitmq import RabbitNode
from fleet.daemons.smtp import SmtpSink
from fleet.errors import FleetError

COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.1
STOP_SECONDS = 20.0
LONGEST_LINE = 70


class StepFailed(FleetError):
    """A step of the demo could not show what it claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A ``fleet`` command that has ended."""

    #: as the operator would type it
    line: str
    code: int
    stdout: str
    stderr: str

    def expect(self, *codes: int) -> "Finished":
        """Return itself when it ended with one of ``codes``. Raises StepFailed with its own words."""
        if self.code not in codes:
            said = (self.stderr.strip() or self.stdout.strip()).splitlines()
            raise StepFailed(f"`{shortened(self.line)}` ended with {self.code}: {' '.join(said[-3:])}")
        return self


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """The demo's directory and what runs in it."""

    directory: Path
    node: RabbitNode
    sink: SmtpSink
    #: told what happens now
    report: Callable[[str], None]
    #: metrics ports of the workers `backup` and `shared`, the same on each host's own address
    metrics_ports: tuple[int, int]
    #: set once there is something to scrape
    prometheus: PrometheusServer | None = None
    #: long-running ``fleet`` commands by name
    running: dict[str, Child] = field(default_factory=dict)

    @property
    def fleet_file(self) -> Path:
        """The demo's fleet file."""
        return self.directory / "fleet.toml"

    def environ(self) -> dict[str, str]:
        """Return the environment of every command; nothing in it points outside the directory."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.directory / "home"),
            "TMPDIR": str(self.directory / "tmp"),
            # The user's own task lies beside the fleet file.
            "PYTHONPATH": str(self.directory),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FLEET_FILE": str(self.fleet_file),
        }

    def fleet(self, *arguments: str, timeout_seconds: float = COMMAND_SECONDS) -> Finished:
        """Run ``fleet`` to its end. Raises StepFailed when it takes too long."""
        line = f"fleet {' '.join(arguments)}"
        try:
            done = subprocess.run(
                fleet_argv(*arguments),
                cwd=self.directory,
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"`{shortened(line)}` took longer than {timeout_seconds:g} s") from error
        return Finished(line=line, code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def start(self, name: str, *arguments: str) -> Child:
        """Start a long-running ``fleet`` command, which ends with the demo."""
        command = Command(
            name=f"`fleet {' '.join(arguments)}`",
            argv=fleet_argv(*arguments),
            environ=self.environ(),
            log=self.directory / "log" / f"{name}.log",
            cwd=self.directory,
        )
        self.running[name] = Child.start(command)
        return self.running[name]

    def require_running(self) -> None:
        """Raise StepFailed with the last words of a long-running command that has ended."""
        for child in self.running.values():
            if not child.is_alive():
                raise StepFailed(f"{child.command.name} has ended: {child.last_words()}")

    def stop_running(self) -> None:
        """End all long-running commands, at the same time."""
        for child in self.running.values():
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.running.values():
            child.stop(grace_seconds=max(0.0, deadline - time.monotonic()))
        self.running.clear()


def shortened(line: str) -> str:
    """Return a command line that is not too long to be read."""
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def fleet_argv(*arguments: str) -> tuple[str, ...]:
    """Return the argv that runs ``fleet`` with this very Python."""
    return (sys.executable, "-P", "-m", "fleet.cli.main", *arguments)


def await_true(condition: Callable[[], bool], *, what: str, timeout_seconds: float) -> float:
    """Wait for ``condition`` and return the seconds it took. Raises StepFailed naming ``what``."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_seconds:
            raise StepFailed(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def get_status(address: str, port: int, path: str) -> int:
    """Return the status that ``http://address:port/path`` answers with, or 0 when nothing answers."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def closing(sandbox: Sandbox, stack: ExitStack) -> None:
    """Let ``stack`` end everything in the order in which nothing complains: workers, Prometheus, broker."""
    stack.callback(sandbox.node.stop)
    # The data goes with the directory, so the broker need not be closed in order.
    stack.callback(sandbox.node.kill)
    stack.callback(sandbox.sink.stop)
    stack.callback(lambda: sandbox.prometheus.stop() if sandbox.prometheus else None)
    stack.callback(sandbox.stop_running)
