import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.backup.failure import BackupFailed, BackupRefused
from fleet.backup.layout import MARKER
from tests.integration.backup.site import Site

as_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


def tree(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def missing_source(site: Site) -> Site:
    return site.having(sources=(str(site.source), str(site.source / "not-there")))


def linked_source(site: Site) -> Site:
    (site.source.parent / "alias").symlink_to(site.source)
    return site.having(sources=(str(site.source.parent / "alias" / "etc"),))


def destination_inside_source(site: Site) -> Site:
    inside = site.source / "backups"
    inside.mkdir()
    return site.having(destination=str(inside))


def source_inside_destination(site: Site) -> Site:
    return site.having(destination=str(site.source.parent))


def missing_destination(site: Site) -> Site:
    return site.having(destination=str(site.destination / "not-there"))


def linked_destination(site: Site) -> Site:
    (site.source.parent / "alias").symlink_to(site.destination)
    return site.having(destination=str(site.source.parent / "alias"))


def destination_is_a_file(site: Site) -> Site:
    return site.having(destination=str(site.source.parent / "file"))


CASES: list[tuple[Callable[[Site], Site], str]] = [
    (missing_source, "not-there` of backup `data` cannot be read: No such file"),
    (linked_source, "leads through a symbolic link"),
    (destination_inside_source, "lies inside its source"),
    (source_inside_destination, "lies inside its destination"),
    (missing_destination, "cannot be used: No such file"),
    (linked_destination, "leads through a symbolic link"),
    (destination_is_a_file, "is not a directory"),
]


@pytest.mark.parametrize(("change", "message"), CASES, ids=[change.__name__ for change, _ in CASES])
def test_a_wrong_place_is_refused_with_a_hint_and_nothing_is_written(
    site: Site, change: Callable[[Site], Site], message: str
) -> None:
    (site.source.parent / "file").write_text("x")
    wrong = change(site)
    before = tree(site.source.parent)
    with pytest.raises(BackupRefused, match=message) as refusal:
        wrong.run()
    assert refusal.value.hint
    assert tree(site.source.parent) == before


def test_a_destination_that_is_excluded_may_lie_inside_a_source(site: Site) -> None:
    inside = site.source / "backups"
    inside.mkdir()
    nested = site.having(destination=str(inside), excludes=(str(inside),))
    nested.run("t1")
    second = nested.run("t2")
    assert second.manifest.files == 2
    assert not (second.tree / str(inside).lstrip("/")).exists()


def test_an_unwritable_destination_is_a_clear_error(site: Site) -> None:
    site.destination.chmod(0o500)
    assert site.run_apart().startswith(f"BackupRefused: destination `{site.destination}` is not writable")


def test_a_disk_that_is_not_mounted_is_recognised_by_its_missing_marker(site: Site) -> None:
    site.run("t1")
    shutil.rmtree(site.destination)
    site.destination.mkdir()
    with pytest.raises(BackupRefused, match="may not be mounted") as refusal:
        site.run("t2")
    assert refusal.value.hint is not None
    assert f"touch {site.destination / MARKER}" in refusal.value.hint
    assert tree(site.destination) == []


def test_the_first_backups_of_several_hosts_may_begin_at_once(site: Site) -> None:
    running = [site.having(name=f"data{number}").start() for number in range(6)]
    assert {process.communicate(timeout=60)[0].strip() for process in running} == {"complete"}
    assert site.state_dir.stat().st_mode & 0o777 == 0o700


def test_a_new_disk_is_accepted_once_it_is_marked(site: Site) -> None:
    site.run("t1")
    shutil.rmtree(site.destination)
    site.destination.mkdir()
    (site.destination / MARKER).touch()
    assert site.run("t2").manifest.is_good


def test_a_directory_that_another_user_has_put_there_is_refused(site: Site) -> None:
    elsewhere = site.source.parent / "elsewhere"
    elsewhere.mkdir()
    (site.destination / "alpha").symlink_to(elsewhere)
    with pytest.raises(BackupRefused, match="alpha` is not a directory of the user"):
        site.run()
    assert tree(elsewhere) == []


def test_an_empty_source_makes_no_snapshot_and_leaves_nothing(empty_site: Site) -> None:
    with pytest.raises(BackupRefused, match="hold 0 files"):
        empty_site.run()
    assert empty_site.snapshots == []
    assert list(empty_site.places.incoming.iterdir()) == []


def test_a_source_with_fewer_files_than_declared_makes_no_snapshot(site: Site) -> None:
    with pytest.raises(BackupRefused, match="hold 2 files, at least 3 are expected"):
        site.having(min_files=3).run()
    assert not site.places.latest.exists()


def test_an_order_that_rsync_refuses_is_a_failure_and_no_snapshot(site: Site) -> None:
    with pytest.raises(BackupFailed, match="exit code 1"):
        site.having(bandwidth_limit_bytes_per_second=2**80).run()
    assert site.snapshots == []


@as_root_only
def test_a_full_disk_is_said_and_its_room_given_back(site: Site) -> None:
    (site.source / "large").write_bytes(b"x" * 80_000_000)
    mount = (
        'mount -t tmpfs -o size=70m none "$0" && shift 0 && "$@"; code=$?; find "$0" -name large; exit $code'
    )
    in_small_mount = ("unshare", "--mount", "sh", "-c", mount, str(site.destination))
    answer = site.run_apart(prefix=in_small_mount)
    assert answer.startswith("BackupFailed: the disk was full during the copy of")
    assert len(answer.splitlines()) == 1, "the cut-off copy is still there"
    assert (
        subprocess.run(("findmnt", str(site.destination)), check=False, capture_output=True).returncode == 1
    )
