"""Who writes after kill -9 of the worker, of its child or of rsync? One run at most, at any moment."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fleet.backup import store
from tests.broker import hosts_and_workers
from tests.integration.backup.site import Site, processes_naming, wait_until
from tests.servers import Provisioned, RunFleet, StartWorker


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def child_of(site: Site) -> int:
    return int(json.loads(site.places.lock.read_text())["pid"])


#: who is killed → how it is found
VICTIMS: dict[str, Callable[[Site], int]] = {
    "worker": lambda site: parent_of(child_of(site)),
    "child": child_of,
    "rsync": lambda site: min(processes_naming(site.places.root)),
}


class Writers:
    """Counts, again and again, the runs of rsync that live at one moment: each has a session of its own."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._over = threading.Event()
        self.most = 0

    def sessions(self) -> set[int]:
        found = set()
        for pid in processes_naming(self._site.places.root):
            with suppress(ProcessLookupError):
                found.add(os.getsid(pid))
        return found

    @contextmanager
    def watched(self) -> Iterator["Writers"]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, len(self.sessions()))


@pytest.fixture
def file(site: Site, provisioned: Provisioned) -> Path:
    (site.source / "b-long").write_bytes(os.urandom(2_000_000))
    return provisioned(
        hosts_and_workers()
        + f"""
[backups.data]
sources = ["{site.source}"]
destination = "{site.destination}"
bandwidth_limit = 500_000
"""
    )


@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_is_killed_no_orphan_writes_on_and_no_second_run_writes_beside_the_first(
    site: Site, file: Path, start_worker: StartWorker, run_fleet: RunFleet, victim: str
) -> None:
    start_worker(file)
    assert run_fleet("backup", "run", "data", file=file).returncode == 0
    wait_until(lambda: list(site.places.incoming.rglob(".b-long.*")), seconds=60)
    writers = Writers(site)
    (first,) = writers.sessions()
    with writers.watched():
        os.kill(VICTIMS[victim](site), signal.SIGKILL)
        # Left alone, it would write for some seconds more; killed itself, rsync is tried again in minutes.
        wait_until(lambda: first not in writers.sessions(), seconds=2)
        if victim != "rsync":
            wait_until(lambda: [each.is_good for each in store.snapshots(site.places)] == [True], seconds=90)
        wait_until(lambda: not processes_naming(site.places.root))
    assert writers.most == 1
