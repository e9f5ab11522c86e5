"""One backup of one host in a temporary directory, and ways to run it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fleet.backup.layout import Layout, layout
from fleet.backup.run import run_backup
from fleet.backup.sources import Finished
from fleet.model import Backup, Retention

ROOT = Path(__file__).parents[3]
#: root without the power to read and write what its mode forbids
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The directories of one backup."""

    source: Path
    destination: Path
    state_dir: Path
    restore_dir: Path
    backup: Backup

    @property
    def places(self) -> Layout:
        return layout(destination=str(self.destination), host="alpha", backup=self.backup.name)

    @property
    def snapshots(self) -> list[Path]:
        """Return the snapshots in the order in which they were made; names order by the second only."""
        return sorted(
            self.places.snapshots.iterdir(), key=lambda path: (path / "manifest.json").stat().st_mtime_ns
        )

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    def having(self, **changes: object) -> "Site":
        """Return the same site with another declaration of its backup."""
        return replace(self, backup=replace(self.backup, **changes))  # type: ignore[arg-type]  # fields of Backup

    def run(self, task_id: str = "t1") -> Finished:
        return run_backup(
            self.backup,
            host="alpha",
            task_id=task_id,
            state_dir=self.state_dir,
            clock=self.clock,
        )

    def start(
        self, task_id: str = "t1", *, prefix: tuple[str, ...] = WITHOUT_OVERRIDE
    ) -> "subprocess.Popen[str]":
        """Run the backup in a process of its own, which prints ``outcome`` or ``error class: message``."""
        order = {"backup": asdict(self.backup), "task_id": task_id, "state_dir": str(self.state_dir)}
        return subprocess.Popen(
            (*prefix, sys.executable, "-m", "tests.integration.backup.run_one", json.dumps(order)),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_apart(self, task_id: str = "t1", *, prefix: tuple[str, ...] = WITHOUT_OVERRIDE) -> str:
        answer, complaint = self.start(task_id, prefix=prefix).communicate(timeout=60)
        assert not complaint
        return answer.strip()

    def in_snapshot(self, snapshot: Path, name: str = "") -> Path:
        """Return where a file of the source lies in ``snapshot``."""
        return snapshot / "tree" / str(self.source).lstrip("/") / name


def make_site(directory: Path) -> Site:
    source, destination = directory / "source", directory / "destination"
    source.mkdir()
    destination.mkdir()
    restore_dir = directory / "restore"
    backup = Backup(
        name="data",
        hosts=("*",),
        sources=(str(source),),
        destination=str(destination),
        restore_dir=str(restore_dir),
    )
    return Site(
        source=source,
        destination=destination,
        state_dir=directory / "state",
        restore_dir=restore_dir,
        backup=backup,
    )


def backup_from(record: dict[str, object]) -> Backup:
    """Return the declaration that ``Site.start`` wrote as JSON."""
    retention = Retention(**record.pop("retention"))  # type: ignore[arg-type]
    lists = {name: tuple(value) for name, value in record.items() if isinstance(value, list)}
    return Backup(**{**record, **lists, "retention": retention})  # type: ignore[arg-type]


def wait_until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    """Poll until ``condition`` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def processes_naming(path: Path) -> list[int]:
    """Return the processes that have ``path`` in their command line, this one left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(path) in command:
                found.append(int(entry.name))
    return found
