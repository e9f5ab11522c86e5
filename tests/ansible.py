"""Ansible as its users have it: our collection installed from the tree, and a home of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.hosts.lab import Host

ROOT = Path(__file__).parents[1]
COLLECTION = ROOT / "ansible"
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a playbook ended."""

    exit_code: int
    #: host → changed tasks
    changed: Mapping[str, int]
    #: host → failed tasks
    failed: Mapping[str, int]
    output: str


@dataclass(frozen=True, slots=True)
class Ansible:
    """Runs Ansible's programs in ``home``."""

    home: Path
    #: besides what every run gets
    environ: Mapping[str, str] = field(default_factory=dict)

    def install(self) -> None:
        """Install our collection as an operator would."""
        where = str(self.home / "collections")
        done = self.run("ansible-galaxy", "collection", "install", str(COLLECTION), "-p", where)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(
        self, command: str, *arguments: str, directory: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of Ansible's programs."""
        return subprocess.run(
            (str(BIN / command), *arguments),
            cwd=directory or self.home,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def play(self, inventory: Path, playbook: str, *options: str, given: Mapping[str, object]) -> Played:
        """Run a playbook with variables ``given``."""
        extra = json.dumps(given, default=str)
        done = self.run("ansible-playbook", "-i", str(inventory), "-e", extra, *options, playbook)
        output = done.stdout + done.stderr
        recap = re.findall(r"^(\S+)\s+: ok=.*changed=(\d+) .*failed=(\d+)", output, flags=re.MULTILINE)
        return Played(
            exit_code=done.returncode,
            changed={host: int(changed) for host, changed, _ in recap},
            failed={host: int(failed) for host, _, failed in recap},
            output=output,
        )

    def _environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.home / "tmp"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / "collections"),
            # Nothing of a run stays behind for long.
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=30s",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "NO_COLOR": "1",
            **self.environ,
        }


def inventory(directory: Path, group: str, *hosts: Host) -> Path:
    """Write an inventory of lab hosts, all in ``group``, and return its path."""
    path = directory / "inventory.ini"
    lines = [f"{host.name} ansible_ssh_common_args='-F {host.ssh_config}'\n" for host in hosts]
    path.write_text("".join((f"[{group}]\n", *lines)))
    return path
