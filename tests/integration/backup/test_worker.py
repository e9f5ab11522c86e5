"""Backups and restores as messages: through the broker, by a real worker."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.backup import store
from fleet.ledger import JobRecord, Ledger
from tests.broker import hosts_and_workers
from tests.integration.backup.site import Site, processes_naming, wait_until
from tests.servers import Provisioned, RunFleet, StartWorker

DeclareBackup = Callable[..., Path]


@pytest.fixture
def declare(site: Site, provisioned: Provisioned) -> DeclareBackup:
    """Provision a fleet whose host alpha has the site's backup."""

    def write(more: str = "") -> Path:
        return provisioned(
            hosts_and_workers()
            + f"""
[backups.data]
sources = ["{site.source}"]
destination = "{site.destination}"
restore_dir = "{site.restore_dir}"
{more}
"""
        )

    return write


def records(provisioned: Provisioned, kind: str) -> list[JobRecord]:
    ledger = Ledger.in_state_dir(str(provisioned.vhost.directory / "state"))
    return [record for record in ledger.latest() if record.kind == kind]


def test_a_backup_and_a_restore_by_message(
    site: Site,
    declare: DeclareBackup,
    provisioned: Provisioned,
    start_worker: StartWorker,
    run_fleet: RunFleet,
) -> None:
    file = declare()
    start_worker(file, "backup")
    done = run_fleet("backup", "run", "data", "--wait", "--timeout", "60s", "--json", file=file)
    assert done.returncode == 0, done.stderr
    assert [manifest.is_good for manifest in store.snapshots(site.places)] == [True]

    (site.source / "notes").unlink()
    order = json.dumps({"backup": "data", "path": f"{site.source}/notes"})
    arguments = ("task", "send", "fleet.restore", "--host", "alpha", "--kwargs", order, "--wait")
    done = run_fleet(*arguments, "--timeout", "60s", file=file)
    assert done.returncode == 0, done.stderr
    (restored,) = site.restore_dir.rglob("notes")
    assert restored.read_text() == "first\n"
    assert [record.ok for record in records(provisioned, "restore")] == [True]


def test_a_message_cannot_restore_to_where_it_wants(
    site: Site,
    declare: DeclareBackup,
    provisioned: Provisioned,
    start_worker: StartWorker,
    run_fleet: RunFleet,
) -> None:
    site.run()
    file = declare()
    start_worker(file, "backup")
    for order in (
        {"backup": "data", "path": "../../../etc/passwd"},
        {"backup": "data", "path": "/", "snapshot": "../.."},
        {"backup": "../data", "path": "/"},
        {"backup": "data", "path": "/", "target": "/etc"},
        {"backup": "data", "path": "/", "in_place": True},
    ):
        arguments = ("--host", "alpha", "--kwargs", json.dumps(order), "--wait", "--timeout", "60s")
        assert run_fleet("task", "send", "fleet.restore", *arguments, file=file).returncode == 1
    assert not site.restore_dir.exists()


def test_a_backup_whose_worker_child_is_killed_is_made_by_the_next_delivery(
    site: Site,
    declare: DeclareBackup,
    provisioned: Provisioned,
    start_worker: StartWorker,
    run_fleet: RunFleet,
) -> None:
    (site.source / "b-long").write_bytes(os.urandom(2_000_000))
    file = declare("bandwidth_limit = 500_000")
    start_worker(file, "backup")
    assert run_fleet("backup", "run", "data", file=file).returncode == 0
    wait_until(lambda: list(site.places.incoming.rglob(".b-long.*")), seconds=60)
    lock = json.loads(site.places.lock.read_text())
    os.kill(lock["pid"], signal.SIGKILL)
    wait_until(lambda: records(provisioned, "backup"), seconds=120)
    (manifest,) = store.snapshots(site.places)
    assert manifest.task_id == lock["task_id"]
    assert (manifest.files, list(site.places.incoming.iterdir())) == (3, [])
    assert [record.ok for record in records(provisioned, "backup")] == [True]
    assert not processes_naming(site.places.root)
