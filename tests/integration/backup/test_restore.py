import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fleet.backup import store
from fleet.backup.compare import differences
from fleet.backup.failure import BackupError, BackupFailed, BackupPostponed, BackupRefused
from fleet.backup.part import Part, find_part
from fleet.backup.restore import Restored, obstacles, restore, restore_in_place, target_below_restore_dir
from fleet.backup.rsync import Progress
from fleet.errors import FleetError, UsageError
from tests.integration.backup.site import Site, processes_naming, wait_until


def part_of(site: Site, name: str = "", *, snapshot: str = "latest", at: datetime | None = None) -> Part:
    return find_part(site.backup, host="alpha", path=f"{site.source}/{name}", snapshot=snapshot, at=at)


def by_message(site: Site, path: str, *, snapshot: str = "latest", task_id: str = "r1") -> Restored:
    """Restore as a message does."""
    part = find_part(site.backup, host="alpha", path=path, snapshot=snapshot)
    return restore(part, target=target_below_restore_dir(site.backup, task_id=task_id))


@pytest.fixture
def saved(site: Site) -> Site:
    """A site whose tree is in a snapshot."""
    site.run("t1")
    return site


def test_a_deleted_file_comes_back_as_it_was(saved: Site) -> None:
    (saved.source / "notes").unlink()
    restored = by_message(saved, f"{saved.source}/notes")
    assert Path(restored.target).read_text() == "first\n"
    assert Path(restored.target) == saved.restore_dir / "r1" / str(saved.source / "notes").lstrip("/")
    assert (restored.files, restored.bytes) == (1, 6)


def test_a_tree_comes_back_with_its_links_modes_and_times(saved: Site) -> None:
    restored = by_message(saved, str(saved.source))
    target = Path(restored.target)
    assert (restored.files, restored.directories, restored.others) == (2, 2, 1)
    assert (target / "link").readlink() == Path("etc/hosts")
    original = (saved.source / "etc" / "hosts").stat()
    copy = (target / "etc" / "hosts").stat()
    assert (copy.st_mode, int(copy.st_mtime)) == (original.st_mode, int(original.st_mtime))


def test_a_restored_file_shares_nothing_with_its_snapshot(saved: Site) -> None:
    restored = by_message(saved, f"{saved.source}/notes")
    Path(restored.target).write_text("changed after the restore")
    assert saved.in_snapshot(saved.snapshots[0], "notes").read_text() == "first\n"


def test_the_whole_copy_comes_back_without_opening_its_target_to_others(saved: Site) -> None:
    restored = by_message(saved, "/")
    assert (Path(restored.target) / str(saved.source / "notes").lstrip("/")).exists()
    assert (saved.restore_dir / "r1").stat().st_mode & 0o777 == 0o700
    assert saved.restore_dir.stat().st_mode & 0o777 == 0o700


def test_a_redelivered_restore_writes_to_the_same_place_and_mends_it(saved: Site) -> None:
    target = Path(by_message(saved, f"{saved.source}/notes").target)
    stamp = target.stat()
    target.write_text("FIRST\n")
    os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert by_message(saved, f"{saved.source}/notes").target == str(target)
    assert target.read_text() == "first\n"


def test_an_older_snapshot_is_had_by_name_and_by_time(saved: Site) -> None:
    first = saved.run("t1").manifest
    (saved.source / "notes").write_text("second, longer\n")
    second = saved.run("t2").manifest
    assert part_of(saved, "notes").manifest == second
    assert part_of(saved, "notes", snapshot=first.snapshot).manifest == first
    assert part_of(saved, "notes", at=second.started - timedelta(microseconds=1)).manifest == first


def test_a_mirror_is_restored_from_too(site: Site) -> None:
    mirror = site.having(kind="mirror")
    mirror.run()
    assert Path(by_message(mirror, f"{site.source}/notes").target).read_text() == "first\n"


def test_a_mirror_that_is_being_written_is_not_restored_from(site: Site) -> None:
    mirror = site.having(kind="mirror")
    mirror.run("t1")
    (site.source / "long").write_bytes(os.urandom(1_500_000))
    process = mirror.having(bandwidth_limit_bytes_per_second=300_000).start("t2")
    try:
        wait_until(lambda: list(mirror.places.mirror_tree.rglob(".long.*")))
        part = find_part(mirror.backup, host="alpha", path=str(site.source), snapshot="mirror")
        with pytest.raises(BackupPostponed):
            restore(part, target=target_below_restore_dir(mirror.backup, task_id="r1"))
    finally:
        process.kill()
        process.communicate(timeout=20)
    wait_until(lambda: not processes_naming(mirror.places.root))


def test_a_path_that_is_not_in_the_snapshot_is_an_error(saved: Site) -> None:
    with pytest.raises(UsageError, match="is not in snapshot") as error:
        by_message(saved, f"{saved.source}/nothing")
    assert str(saved.source) in (error.value.hint or "")
    assert not saved.restore_dir.exists()


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "/etc/../../etc", "..", "a\0b"],
)
def test_a_path_with_a_way_out_is_refused(saved: Site, path: str) -> None:
    with pytest.raises(UsageError):
        by_message(saved, path)


@pytest.mark.parametrize(
    "snapshot", ["../..", "..", "/", ".", "../.incoming/x", "2020-01-01T00-00-00Z_00000000"]
)
def test_a_snapshot_that_is_none_is_refused(saved: Site, snapshot: str) -> None:
    with pytest.raises(UsageError, match="there is no snapshot"):
        by_message(saved, "/", snapshot=snapshot)


def test_a_link_in_a_snapshot_is_never_a_way_out_of_it(saved: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hidden")
    (saved.source / "way-out").symlink_to(secret)
    saved.run("t2")
    with pytest.raises(UsageError, match="is not in snapshot"):
        by_message(saved, f"{saved.source}/way-out/key")
    restored = by_message(saved, f"{saved.source}/way-out", task_id="r2")
    assert Path(restored.target).is_symlink()
    assert restored.files == 0


@pytest.mark.parametrize("task_id", ["../../evil", "/evil", "..", ""])
def test_a_task_id_cannot_choose_the_target(saved: Site, task_id: str) -> None:
    restored = by_message(saved, f"{saved.source}/notes", task_id=task_id)
    assert Path(restored.target).is_relative_to(saved.restore_dir)
    assert ".." not in restored.target


def test_without_a_restore_dir_no_message_restores(saved: Site) -> None:
    with pytest.raises(BackupRefused, match="has no `restore_dir`"):
        by_message(saved.having(restore_dir=None), str(saved.source))


def link(directory: Path) -> None:
    other = directory.with_name("other")
    other.mkdir(mode=0o700)
    directory.symlink_to(other)


def public(directory: Path) -> None:
    directory.mkdir(mode=0o755)


@pytest.mark.parametrize("make", [link, public])
def test_a_restore_dir_that_others_could_use_is_refused(saved: Site, make: Callable[[Path], None]) -> None:
    make(saved.restore_dir)
    with pytest.raises(BackupRefused, match="mode 0700, reached without symbolic links"):
        by_message(saved, str(saved.source))


def test_a_link_in_place_of_a_tasks_directory_is_not_followed(saved: Site, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    saved.restore_dir.mkdir(mode=0o700)
    (saved.restore_dir / "r1").symlink_to(elsewhere)
    with pytest.raises(BackupRefused):
        by_message(saved, str(saved.source))
    assert list(elsewhere.iterdir()) == []


def lose_a_file(tree: Path) -> Path:
    (tree / "notes").unlink()
    return tree / "notes"


def turn_a_bit(tree: Path) -> Path:
    stamp = (tree / "notes").stat()
    (tree / "notes").write_text("fIrst\n")
    os.utime(tree / "notes", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return tree / "notes"


def bend_a_link(tree: Path) -> Path:
    (tree / "link").unlink()
    (tree / "link").symlink_to("elsewhere")
    return tree / "link"


def make_a_directory_a_file(tree: Path) -> Path:
    shutil.rmtree(tree / "etc")
    (tree / "etc").write_text("x")
    return tree / "etc"


@pytest.mark.parametrize("harm", [lose_a_file, turn_a_bit, bend_a_link, make_a_directory_a_file])
def test_the_comparison_after_a_restore_finds_what_is_wrong(
    saved: Site, harm: Callable[[Path], Path]
) -> None:
    restored = by_message(saved, str(saved.source))
    part = part_of(saved)
    assert differences(part.tree, part.parts, saved.restore_dir / "r1") == ()
    wrong = harm(Path(restored.target))
    assert differences(part.tree, part.parts, saved.restore_dir / "r1")[0] == str(wrong)


def test_a_restore_whose_files_are_not_the_snapshots_is_a_failure(saved: Site) -> None:
    part = part_of(saved, "notes")
    target = target_below_restore_dir(saved.backup, task_id="r1")
    restored = target / str(saved.source).lstrip("/") / "notes"

    def lose_it(_: Progress) -> None:
        wait_until(restored.exists)
        restored.unlink()

    with pytest.raises(BackupFailed, match="restored files differ from snapshot"):
        restore(part, target=target, on_progress=lose_it)


def in_place(site: Site, name: str, *, root: Path) -> Restored:
    return restore_in_place(part_of(site, name), restore_token="now", root=root)


@pytest.fixture
def root(saved: Site, tmp_path: Path) -> Path:
    """A stand-in for the host's root directory, holding the source as it is now."""
    root = tmp_path / "root"
    place = root / str(saved.source).lstrip("/")
    place.parent.mkdir(parents=True)
    shutil.copytree(saved.source, place, symlinks=True)
    return root


def placed(site: Site, root: Path, name: str = "") -> Path:
    return root / str(site.source).lstrip("/") / name


def test_a_restore_in_place_keeps_what_it_overwrites(saved: Site, root: Path) -> None:
    placed(saved, root, "notes").write_text("a later version\n")
    restored = in_place(saved, "notes", root=root)
    assert placed(saved, root, "notes").read_text() == "first\n"
    assert restored.kept_in is not None
    kept = Path(restored.kept_in) / str(saved.source).lstrip("/") / "notes"
    assert kept.read_text() == "a later version\n"


def test_a_restore_in_place_of_an_unchanged_tree_keeps_and_changes_nothing(saved: Site, root: Path) -> None:
    before = placed(saved, root, "notes").stat().st_ino
    assert in_place(saved, "", root=root).kept_in is None
    assert placed(saved, root, "notes").stat().st_ino == before
    assert list(saved.places.replaced.iterdir()) == []


def test_a_restore_in_place_leaves_other_files_and_the_way_there_alone(saved: Site, root: Path) -> None:
    placed(saved, root, "newer").write_text("not in the snapshot")
    placed(saved, root).chmod(0o711)
    placed(saved, root, "etc/hosts").unlink()
    in_place(saved, "etc/hosts", root=root)
    assert placed(saved, root, "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert placed(saved, root, "newer").exists()
    assert placed(saved, root).stat().st_mode & 0o777 == 0o711


def test_what_is_in_the_way_is_told_before_anything_is_overwritten(saved: Site, root: Path) -> None:
    placed(saved, root, "notes").write_text("a later version\n")
    placed(saved, root, "etc/hosts").unlink()
    found = obstacles(part_of(saved), root=root)
    assert (found.created, found.unchanged, found.replaced) == (1, 1, 1)
    assert (found.newer, found.newer_paths) == (1, (str(placed(saved, root, "notes")),))


def test_a_link_on_the_way_back_is_not_followed(saved: Site, root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(placed(saved, root, "etc"))
    placed(saved, root, "etc").symlink_to(elsewhere)
    with pytest.raises(BackupRefused, match="is not a directory, so"):
        in_place(saved, "etc/hosts", root=root)
    assert list(elsewhere.iterdir()) == []


def test_a_link_inside_a_tree_that_comes_back_is_replaced_and_not_followed(
    saved: Site, root: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(placed(saved, root, "etc"))
    placed(saved, root, "etc").symlink_to(elsewhere)
    in_place(saved, "", root=root)
    assert list(elsewhere.iterdir()) == []
    assert not placed(saved, root, "etc").is_symlink()
    assert placed(saved, root, "etc/hosts").exists()


def test_every_failure_reaches_an_operator_as_one_message() -> None:
    for error in BackupError.__subclasses__():
        assert issubclass(error, FleetError)


def test_a_snapshot_that_went_while_it_was_chosen_is_an_error(saved: Site) -> None:
    part = part_of(saved)
    gone = replace(part, manifest=replace(part.manifest, snapshot="2020-01-01T00-00-00Z_00000000"))
    with pytest.raises(BackupFailed, match="cannot be opened"), store.in_use(gone.places, gone.manifest):
        pass
