import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.backup import store
from fleet.backup.manifest import Outcome
from fleet.model import Retention
from tests.integration.backup.site import ROOT, WITHOUT_OVERRIDE, Site, wait_until


def content(directory: Path) -> dict[str, str]:
    """Return what lies below ``directory``: a file's text, a link's target, ``/`` for a directory."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = f"-> {path.readlink()}"
        else:
            found[str(path.relative_to(directory))] = "/" if path.is_dir() else path.read_text()
    return found


def test_a_snapshot_holds_what_the_source_held(site: Site) -> None:
    done = site.run()
    assert done.manifest.outcome is Outcome.COMPLETE
    assert (done.manifest.files, done.manifest.sources[0].problems) == (2, ())
    assert content(site.in_snapshot(site.snapshots[0])) == content(site.source)


def test_owner_mode_time_and_hard_links_come_along(site: Site) -> None:
    notes = site.source / "notes"
    notes.chmod(0o640)
    os.utime(notes, (1_000_000_000, 1_000_000_000))
    (site.source / "twin").hardlink_to(notes)
    site.run()
    copy = site.in_snapshot(site.snapshots[0], "notes").stat()
    assert (copy.st_mode & 0o7777, copy.st_mtime, copy.st_uid) == (0o640, 1_000_000_000, notes.stat().st_uid)
    assert site.in_snapshot(site.snapshots[0], "twin").stat().st_ino == copy.st_ino


def test_only_its_owner_may_look_into_the_copies(site: Site) -> None:
    site.run()
    host = site.destination / "alpha"
    assert [path.stat().st_mode & 0o777 for path in (host, site.places.root)] == [0o700, 0o700]


def test_an_unchanged_file_is_stored_once_and_a_changed_one_again(site: Site) -> None:
    site.run("t1")
    (site.source / "notes").write_text("second, longer\n")
    done = site.run("t2")
    first, second = site.snapshots
    hosts = "etc/hosts"
    assert site.in_snapshot(first, hosts).stat().st_ino == site.in_snapshot(second, hosts).stat().st_ino
    assert site.in_snapshot(first, "notes").read_text() == "first\n"
    assert (done.manifest.linked_to, done.manifest.sources[0].transferred_files) == (first.name, 1)


def test_a_mode_that_changes_later_does_not_change_history(site: Site) -> None:
    site.run("t1")
    (site.source / "notes").chmod(0o600)
    site.run("t2")
    first, second = (site.in_snapshot(snapshot, "notes").stat() for snapshot in site.snapshots)
    assert (first.st_mode & 0o777, second.st_mode & 0o777) == (0o644, 0o600)


def test_latest_leads_to_the_newest_good_snapshot(site: Site) -> None:
    site.run("t1")
    site.run("t2")
    assert site.places.latest.resolve() == site.snapshots[1]
    assert site.places.latest.readlink() == Path("snapshots", site.snapshots[1].name)


def test_a_redelivered_task_returns_the_snapshot_that_it_has_made(site: Site) -> None:
    first = site.run("t1")
    again = site.run("t1")
    assert again.repeated
    assert again.manifest == first.manifest
    assert len(site.snapshots) == 1


def test_a_task_that_ended_before_needs_its_source_no_more(site: Site) -> None:
    first = site.run("t1")
    assert site.having(sources=("/nonexistent",)).run("t1").manifest == first.manifest


def test_a_file_that_goes_away_while_it_is_read_leaves_the_snapshot_good(site: Site) -> None:
    (site.source / "a-long").write_bytes(os.urandom(600_000))
    (site.source / "z-short").write_text("soon gone")
    process = site.having(bandwidth_limit_bytes_per_second=400_000).start()
    wait_until(lambda: list(site.places.incoming.rglob(".a-long.*")))
    (site.source / "z-short").unlink()
    assert process.communicate(timeout=30)[0].strip() == "complete-with-vanished"
    manifest = store.snapshots(site.places)[0]
    assert (manifest.vanished, manifest.is_good) == (1, True)
    assert "z-short" in manifest.sources[0].problems[0]
    assert site.places.latest.exists()


def test_an_unreadable_file_makes_a_partial_snapshot_that_is_never_the_latest(site: Site) -> None:
    assert site.run_apart("t1") == "complete"
    (site.source / "secret").write_text("x")
    (site.source / "secret").chmod(0)
    assert site.run_apart("t2") == "partial"
    good, partial = site.snapshots
    assert site.places.latest.resolve() == good
    assert site.in_snapshot(partial, "notes").exists()
    record = json.loads((partial / "manifest.json").read_text())
    assert (record["outcome"], record["sources"][0]["exit_code"]) == ("partial", 23)
    assert "secret" in record["sources"][0]["problems"][0]


def test_a_partial_task_that_runs_again_makes_a_whole_snapshot(site: Site) -> None:
    (site.source / "secret").write_text("x")
    (site.source / "secret").chmod(0)
    assert site.run_apart("t1") == "partial"
    (site.source / "secret").chmod(0o600)
    assert site.run_apart("t1") == "complete"
    assert len(site.snapshots) == 1


def test_retention_removes_old_snapshots_and_leaves_nothing_behind(site: Site) -> None:
    kept = site.having(retention=Retention(last=2, daily=0, weekly=0, monthly=0))
    names = [kept.run(f"t{number}").manifest.snapshot for number in range(4)]
    assert [path.name for path in site.snapshots] == names[2:]
    assert list(site.places.trash.iterdir()) == []
    assert list(site.places.incoming.iterdir()) == []


def test_a_snapshot_that_is_in_use_is_not_pruned(site: Site) -> None:
    kept = site.having(retention=Retention(last=1, daily=0, weekly=0, monthly=0))
    first = kept.run("t1")
    with store.in_use(site.places, first.manifest):
        assert kept.run("t2").pruned == ()
    assert kept.run("t3").pruned[0] == first.manifest.snapshot


def test_a_source_that_shrank_prunes_nothing(site: Site) -> None:
    for number in range(8):
        (site.source / f"file{number}").write_text("x")
    kept = site.having(retention=Retention(last=1, daily=0, weekly=0, monthly=0))
    kept.run("t1")
    for number in range(8):
        (site.source / f"file{number}").unlink()
    done = kept.run("t2")
    assert "nothing is pruned" in (done.pruning_held or "")
    assert len(site.snapshots) == 2


def test_read_only_directories_are_deleted_and_links_out_of_a_tree_are_not_followed(tmp_path: Path) -> None:
    outside, doomed = tmp_path / "outside", tmp_path / "doomed"
    outside.mkdir(mode=0o500)
    (doomed / "deep").mkdir(parents=True)
    (doomed / "deep" / "file").write_text("x")
    (doomed / "deep" / "link").symlink_to(outside)
    (doomed / "deep").chmod(0o500)
    doomed.chmod(0o500)
    program = "import sys, pathlib, fleet.backup.disk as disk; disk.delete_tree(pathlib.Path(sys.argv[1]))"
    subprocess.run((*WITHOUT_OVERRIDE, sys.executable, "-c", program, str(doomed)), check=True, cwd=ROOT)
    assert not doomed.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize("damage", ["no manifest", "cut off", "another name"])
def test_a_directory_without_a_valid_manifest_is_no_snapshot(site: Site, damage: str) -> None:
    site.run("t1")
    manifest = site.snapshots[0] / "manifest.json"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "cut off":
        manifest.write_text(manifest.read_text()[:100])
    else:
        site.snapshots[0].rename(site.places.snapshots / "2020-01-01T00-00-00Z_00000000")
    assert store.snapshots(site.places) == ()
    assert not site.run("t1").repeated


def test_excluded_paths_and_other_sources_stay_out_of_a_copy(site: Site) -> None:
    (site.source / "cache").mkdir()
    (site.source / "cache" / "x").write_text("x")
    (site.source / "a.tmp").write_text("x")
    both = site.having(
        sources=(str(site.source), str(site.source / "etc")),
        excludes=(str(site.source / "cache"), "*.tmp"),
    )
    done = both.run()
    assert set(content(site.in_snapshot(site.snapshots[0]))) == {"etc", "etc/hosts", "link", "notes"}
    assert [source.files for source in done.manifest.sources] == [1, 1]


def test_a_single_file_may_be_a_source(site: Site) -> None:
    done = site.having(sources=(str(site.source / "notes"),)).run()
    assert done.manifest.files == 1
    assert site.in_snapshot(site.snapshots[0], "notes").read_text() == "first\n"


def test_file_names_may_hold_anything_that_linux_allows(site: Site) -> None:
    for name in ("-rf", "a b", "new\nline", "#x", "ü", "*"):
        (site.source / name).write_text(name)
    assert site.run().manifest.outcome is Outcome.COMPLETE
    assert content(site.in_snapshot(site.snapshots[0])) == content(site.source)


def test_strange_task_ids_stay_inside(site: Site) -> None:
    assert site.run("../../../evil").manifest.is_good
    assert {path.name for path in site.destination.parent.iterdir()} == {"source", "destination", "state"}
