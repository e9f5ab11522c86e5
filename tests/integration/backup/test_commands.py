import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.backup.manifest import Manifest
from tests.integration.backup.site import Site
from tests.servers import RunFleet


@pytest.fixture
def file(site: Site) -> Path:
    """The fleet file that declares the site's backup, beside another one that never ran."""
    path = site.source.parent / "fleet.toml"
    path.write_text(
        f"""\
[fleet]
timezone = "UTC"
state_dir = "{site.state_dir}"
[broker]
url = "amqp://127.0.0.1"
password = "env:NONE"
[hosts.alpha]
[hosts.beta]
[backups.data]
sources = ["{site.source}"]
destination = "{site.destination}"
restore_dir = "{site.restore_dir}"
[backups.idle]
sources = ["/etc"]
destination = "{site.destination}"
"""
    )
    return path


@pytest.fixture
def saved(site: Site) -> Manifest:
    """The first snapshot of the site's tree."""
    return site.run("t1").manifest


def test_list_shows_the_copies_on_this_machine(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    done = run_fleet("backup", "list", file=file)
    header, row = done.stdout.splitlines()
    assert header.split() == ["backup", "host", "snapshot", "outcome", "files", "size", "took"]
    assert row.split()[:5] == ["data", "alpha", saved.snapshot, "complete", "2"]
    assert done.returncode == 0


def test_list_as_json_says_where_each_copy_lies(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    record = json.loads(run_fleet("backup", "list", "data", "--host", "al*", "--json", file=file).stdout)
    (copy,) = record["copies"]
    assert Path(copy["tree"], str(site.source).lstrip("/"), "notes").read_text() == "first\n"
    assert copy["started"] == saved.started.isoformat(timespec="seconds")
    assert record["attempts"] == []


def test_list_of_another_host_or_backup_is_empty_and_says_so(
    saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    for arguments in (("--host", "beta"), ("idle",)):
        done = run_fleet("backup", "list", *arguments, file=file)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
        assert "no copies on this machine" in done.stderr


def test_a_deleted_file_is_restored_to_a_directory_and_its_place_printed(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    (site.source / "notes").unlink()
    target = site.source.parent / "found"
    done = run_fleet("backup", "restore", "data", f"{site.source}/notes", "--to", str(target), file=file)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_text() == "first\n"
    assert done.stdout.strip().startswith(str(target))
    assert "compared them with snapshot" in done.stderr


def test_without_a_target_the_backups_restore_dir_is_used(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    done = run_fleet("backup", "restore", "data", "/", "--json", file=file)
    record = json.loads(done.stdout)
    assert record["target"].startswith(f"{site.restore_dir}/")
    assert (record["files"], record["snapshot"]) == (2, saved.snapshot)


def test_a_restore_stands_in_this_machines_list(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    run_fleet("backup", "restore", "data", "/", file=file)
    record = json.loads(run_fleet("backup", "list", "--json", file=file).stdout)
    assert [(one["kind"], one["ok"]) for one in record["attempts"]] == [("restore", True)]


def test_a_file_goes_back_to_where_it_was_and_what_it_overwrites_is_kept(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    notes = site.source / "notes"
    notes.write_text("spoiled\n")
    os.utime(notes, (1, 1))
    done = run_fleet("backup", "restore", "data", str(notes), "--in-place", "--yes", "--json", file=file)
    assert notes.read_text() == "first\n"
    assert "1 are overwritten (0 of them changed since)" in done.stderr
    kept = json.loads(done.stdout)["kept_in"]
    assert Path(kept, str(notes).lstrip("/")).read_text() == "spoiled\n"


def test_a_file_that_changed_since_is_overwritten_only_by_force(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    notes = site.source / "notes"
    notes.write_text("newer work\n")
    arguments = ("backup", "restore", "data", str(notes), "--in-place", "--yes")
    refused = run_fleet(*arguments, file=file)
    assert (refused.returncode, notes.read_text()) == (1, "newer work\n")
    assert "hint: add `--force`" in refused.stderr
    assert run_fleet(*arguments, "--force", file=file).returncode == 0
    assert notes.read_text() == "first\n"


def test_a_restore_in_place_that_cannot_ask_changes_nothing(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    (site.source / "notes").unlink()
    done = run_fleet("backup", "restore", "data", f"{site.source}/notes", "--in-place", file=file)
    assert done.returncode == 2
    assert "hint: add `--yes`" in done.stderr
    assert not (site.source / "notes").exists()


def test_a_time_means_the_snapshot_of_then(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    arguments = ("backup", "restore", "data", "/", "--json")
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat(timespec="seconds")
    assert json.loads(run_fleet(*arguments, "--at", soon, file=file).stdout)["snapshot"] == saved.snapshot
    done = run_fleet(*arguments, "--at", "2020-01-01", file=file)
    assert done.returncode == 2
    assert "there is no good snapshot from 2020-01-01T00:00:00+00:00 or before" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "/"), "has no backup `nothing`"),
        (("idle", "/"), "this machine has no copy of backup `idle`"),
        (("data", "/nowhere"), "`/nowhere` is not in snapshot"),
        (("data", "../../etc"), "may hold neither `..`"),
        (("data", "/", "--snapshot", "x"), "there is no snapshot 'x'"),
        (("data", "/", "--host", "gamma"), "is not for host `gamma`"),
        (("data", "/", "--host", "beta"), "there is no good snapshot"),
        (("data", "/", "--at", "yesterday"), "time `yesterday` is not understood"),
        (("data", "/", "--at", "2026-01-01", "--snapshot", "x"), "exclude each other"),
        (("data", "/", "--to", "x", "--in-place"), "exclude each other"),
    ],
)
def test_a_wrong_order_ends_with_its_reason_a_hint_and_code_2(
    saved: Manifest, file: Path, run_fleet: RunFleet, arguments: tuple[str, ...], message: str
) -> None:
    done = run_fleet("backup", "restore", *arguments, file=file)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_target_that_holds_files_is_refused(
    site: Site, saved: Manifest, file: Path, run_fleet: RunFleet
) -> None:
    done = run_fleet("backup", "restore", "data", "/", "--to", str(site.source), file=file)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
