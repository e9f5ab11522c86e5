import os

import pytest

from fleet.backup import store
from fleet.backup.failure import BackupRefused
from fleet.backup.manifest import Outcome
from tests.integration.backup.site import Site, processes_naming, wait_until


@pytest.fixture
def mirror(site: Site) -> Site:
    return site.having(kind="mirror")


def names(site: Site) -> set[str]:
    copy = site.in_snapshot(site.places.root)
    return {str(path.relative_to(copy)) for path in copy.rglob("*")}


def test_a_mirror_follows_its_source_deletions_included(mirror: Site) -> None:
    mirror.run("t1")
    (mirror.source / "notes").unlink()
    (mirror.source / "new").write_text("x")
    done = mirror.run("t2")
    assert names(mirror) == {"etc", "etc/hosts", "link", "new"}
    assert done.manifest.sources[0].deleted == 1
    assert store.mirror(mirror.places) == done.manifest


def test_a_redelivered_task_leaves_the_mirror_alone(mirror: Site) -> None:
    first = mirror.run("t1")
    (mirror.source / "new").write_text("x")
    assert mirror.run("t1").manifest == first.manifest
    assert "new" not in names(mirror)


def test_an_emptied_source_does_not_empty_its_mirror(mirror: Site) -> None:
    mirror.run("t1")
    before = names(mirror)
    for path in (mirror.source / "notes", mirror.source / "etc" / "hosts", mirror.source / "link"):
        path.unlink()
    with pytest.raises(BackupRefused, match="hold 0 files"):
        mirror.run("t2")
    assert names(mirror) == before


def test_one_emptied_source_of_several_does_not_empty_its_part(mirror: Site) -> None:
    other = mirror.source.parent / "other"
    other.mkdir()
    (other / "x").write_text("x")
    both = mirror.having(sources=(str(mirror.source), str(other)))
    both.run("t1")
    (other / "x").unlink()
    with pytest.raises(BackupRefused, match=f"source `{other}` of mirror `data` is empty"):
        both.run("t2")
    assert (both.places.mirror_tree / str(other).lstrip("/") / "x").exists()


def test_more_deletions_than_allowed_delete_nothing(mirror: Site) -> None:
    mirror.run("t1")
    (mirror.source / "notes").unlink()
    with pytest.raises(BackupRefused, match="would lose 1 files, `max_delete` allows 0"):
        mirror.having(max_delete=0).run("t2")
    assert "notes" in names(mirror)
    manifest = store.mirror(mirror.places)
    assert manifest is not None
    assert manifest.is_good


def test_what_is_excluded_is_neither_copied_nor_deleted(mirror: Site) -> None:
    mirror.run("t1")
    (mirror.source / "notes").unlink()
    mirror.having(excludes=("notes",)).run("t2")
    assert "notes" in names(mirror)


def test_a_source_below_another_is_left_to_its_own_copy(mirror: Site) -> None:
    both = mirror.having(sources=(str(mirror.source), str(mirror.source / "etc")))
    both.run("t1")
    done = both.run("t2")
    assert [(source.files, source.deleted) for source in done.manifest.sources] == [(1, 0), (1, 0)]
    assert "etc/hosts" in names(both)


def test_an_interrupted_mirror_does_not_claim_to_be_whole(mirror: Site) -> None:
    mirror.run("t1")
    (mirror.source / "long").write_bytes(os.urandom(1_500_000))
    process = mirror.having(bandwidth_limit_bytes_per_second=300_000).start("t2")
    wait_until(lambda: list(mirror.places.mirror_tree.rglob(".long.*")))
    process.kill()
    process.communicate(timeout=20)
    wait_until(lambda: not processes_naming(mirror.places.root))
    manifest = store.mirror(mirror.places)
    assert manifest is not None
    assert manifest.outcome is Outcome.PARTIAL
    assert mirror.run("t2").manifest.outcome is Outcome.COMPLETE


def test_an_unreadable_directory_deletes_nothing_and_is_said(mirror: Site) -> None:
    assert mirror.run_apart("t1") == "complete"
    (mirror.source / "etc").chmod(0)
    assert mirror.run_apart("t2") == "partial"
    assert "etc/hosts" in names(mirror)
