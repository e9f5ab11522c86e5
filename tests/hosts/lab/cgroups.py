"""Which processes belong to a host, and how are all of them ended, whatever became of their parents?

Each host has a control group of its own. No process inside can leave it, so it is the one true list of what
a host runs, and it outlives the process that made it. (It also keeps the systemds of several hosts out of
each other's way, which would otherwise all manage the same group.)
"""

import os
import select
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.hosts.lab.system import LabFailed, await_that, cgroup_roots

PARENT = "fleet-lab"
END_SECONDS = 30


class ControlGroup:
    """The group of ``name`` (such as ``flab0/alpha``) in every hierarchy that systemd uses."""

    def __init__(self, name: str) -> None:
        self._directories = tuple(root / PARENT / name for root in cgroup_roots())

    @property
    def entrances(self) -> tuple[str, ...]:
        """The files that a process writes 0 to in order to enter."""
        return tuple(str(directory / "cgroup.procs") for directory in self._directories)

    def create(self) -> None:
        """Make the group anew: whatever is in it ends, and so do the groups below.

        One that was killed is not fit for another boot: Linux 6.18 kills whatever its processes start
        straight into another group (clone3 with CLONE_INTO_CGROUP), and so systemd 257 starts each service.
        """
        for directory in self._directories:
            self._remove(directory)
            # Another lab's end may remove the empty parent between two steps.
            with suppress(FileNotFoundError):
                directory.mkdir(parents=True, exist_ok=True)
            directory.mkdir(parents=True, exist_ok=True)

    def pids(self) -> list[int]:
        """Return the living processes in it and in the groups below."""
        found: list[int] = []
        for group in _with_those_below(self._directories[0]):
            found += [int(line) for line in _lines(group / "cgroup.procs")]
        return found

    def memory_bytes(self) -> int:
        """Return the memory of its processes, of shared pages a fair part each."""
        return sum(_proportional_bytes(pid) for pid in self.pids())

    def kill(self) -> None:
        """Kill everything in it and return when nothing is left. Raises LabFailed."""
        events = self._directories[0] / "cgroup.events"
        if not events.exists():
            return
        (self._directories[0] / "cgroup.kill").write_text("1", encoding="ascii")
        deadline = time.monotonic() + END_SECONDS
        with events.open() as handle:
            while "populated 1" in _again(handle.fileno()):
                # The kernel announces a change of this file as an exceptional condition.
                changed = select.select([], [], [handle], max(0.0, deadline - time.monotonic()))[2]
                if not changed:
                    raise LabFailed(f"processes {self.pids()} would not end")

    def end(self) -> None:
        """Kill everything in it and remove it, with the groups below; whatever enters meanwhile, too."""
        for directory in self._directories:
            self._remove(directory)
            _is_removed(directory.parent)

    def _remove(self, directory: Path) -> None:
        gone = partial(self._is_gone, directory)
        await_that(gone, f"{directory} should go", timeout_seconds=END_SECONDS)

    def _is_gone(self, directory: Path) -> bool:
        self.kill()
        for group in sorted(_with_those_below(directory), reverse=True):
            _is_removed(group)
        return _is_removed(directory)


def groups(bridge: str) -> list[str]:
    """Return the hosts of the lab with ``bridge`` that have control groups."""
    found = (root / PARENT / bridge for root in cgroup_roots())
    return sorted({path.name for directory in found for path in directory.glob("*") if path.is_dir()})


def _with_those_below(directory: Path) -> list[Path]:
    """Return ``directory`` and all below it; one that goes meanwhile, such as another lab's, is left out."""
    return [Path(path) for path, _, _ in os.walk(directory)]


def _again(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 4096).decode()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _is_removed(directory: Path) -> bool:
    """Remove an empty group; return whether it is gone."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
