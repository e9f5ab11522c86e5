"""The quickstart, typed in from top to bottom.

A block fenced ``sh`` is run once, one fenced ``sh wait`` is repeated until it succeeds, and one fenced
``sh terminal`` keeps running in a process of its own. ``sh setup`` is what this environment has done already.
"""

import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.daemons.process import Child, Command, free_ports
from fleet.fleetfile import read
from fleet.ledger import Ledger
from tests.servers import clean_environ

GUIDE = Path(__file__).parents[2] / "docs" / "quickstart.md"
_BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BROKER_SECONDS = 90


def blocks() -> list[tuple[str, str]]:
    """Return (kind, text) of every shell block, moved to addresses and ports that nobody else uses."""
    network = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
    (smtp_port,) = free_ports(1)
    text = GUIDE.read_text(encoding="utf-8")
    for host in (2, 3, 4):
        text = text.replace(f"127.0.0.{host}", f"{network}.{host}")
    return _BLOCK.findall(text.replace("2525", str(smtp_port)))


@dataclass(slots=True)
class Walk:
    """Somebody who follows the guide."""

    directory: Path
    terminals: list[Child] = field(default_factory=list)

    def environ(self) -> dict[str, str]:
        environ = clean_environ() | {"FLEET_BEAT_METRICS_PORT": "0", "PYTHONUNBUFFERED": "1"}
        return environ | {"PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}

    def open_terminal(self, text: str) -> None:
        command = Command(
            name=text.strip(),
            argv=("/bin/bash", "-c", f"exec {text}"),
            environ=self.environ(),
            log=self.directory / f"terminal-{len(self.terminals)}.log",
            cwd=self.directory,
        )
        self.terminals.append(Child.start(command))

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ("/bin/bash", "-euo", "pipefail", "-c", text),
            cwd=self.directory,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def repeat(self, text: str) -> "subprocess.CompletedProcess[str]":
        deadline = time.monotonic() + BROKER_SECONDS
        while (done := self.run(text)).returncode != 0 and time.monotonic() < deadline:
            time.sleep(0.5)
        return done

    def follow(self) -> str:
        """Do what the guide says; return what the commands said on stdout and stderr."""
        said = ""
        for kind, text in blocks():
            if kind == "terminal":
                self.open_terminal(text)
            elif kind != "setup":
                done = self.repeat(text) if kind == "wait" else self.run(text)
                said += done.stdout + done.stderr
                assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return said

    def logs(self) -> str:
        logs = sorted(self.directory.glob("terminal-*.log"))
        return "".join(log.read_text(encoding="utf-8") for log in logs)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """Somebody in an empty directory; whatever they start is ended."""
    walk = Walk(tmp_path)
    try:
        yield walk
    finally:
        # The broker was started first and ends last.
        for terminal in reversed(walk.terminals):
            terminal.signal(signal.SIGINT)
            terminal.stop(grace_seconds=20)


def test_the_quickstart_does_what_it_says_from_top_to_bottom(walk: Walk) -> None:
    said = walk.follow()
    assert "no changes: the broker is as desired" in said
    (found,) = walk.directory.glob("found/**/notes.txt")
    assert found.read_text() == "dear diary\n"
    assert {"To: ada@example.org", "To: grace@example.org"} <= set(walk.logs().splitlines())
    assert re.search(r"^fleet_job_last_success_timestamp_seconds{.*host=\"alpha\"", said, re.MULTILINE)
    fleet = read(str(walk.directory / "fleet.toml"))
    assert {job.host for job in Ledger.in_state_dir(fleet.state_dir).latest_good()} == {"alpha", "beta"}
    assert all(terminal.is_alive() for terminal in walk.terminals)
