import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.backup.failure import BackupPostponed
from fleet.backup.manifest import Outcome
from tests.integration.backup.site import ROOT, Site, processes_naming, wait_until

SLOW = 300_000


@contextmanager
def half_done(site: Site, task_id: str) -> Iterator["subprocess.Popen[str]"]:
    """Give a run that has copied ``a-small`` and is in the middle of ``b-long``."""
    (site.source / "a-small").write_text("copied before the end\n")
    (site.source / "b-long").write_bytes(os.urandom(9_000_000))
    process = site.having(bandwidth_limit_bytes_per_second=SLOW).start(task_id)
    try:
        wait_until(lambda: list(site.places.incoming.rglob(".b-long.*")))
        assert list(site.places.incoming.rglob("a-small"))
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def nobody_writes(site: Site) -> bool:
    return not processes_naming(site.places.root)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_rsync_ends_with_the_process_that_runs_it(site: Site, number: signal.Signals) -> None:
    with half_done(site, "t1") as process:
        assert processes_naming(site.places.root)
        process.send_signal(number)
        process.wait(20)
        # Left alone, rsync would go on for half a minute.
        wait_until(lambda: nobody_writes(site), seconds=15)
    assert list(site.places.snapshots.iterdir()) == []
    assert not site.places.latest.exists()


@pytest.mark.parametrize("task_id", ["t1", "t2"], ids=["the same task", "another task"])
def test_the_next_run_goes_on_from_what_was_copied(site: Site, task_id: str) -> None:
    with half_done(site, "t1") as process:
        process.kill()
        wait_until(lambda: nobody_writes(site))
        left = next(iter(site.places.incoming.rglob("a-small"))).stat().st_ino
    done = site.run(task_id)
    assert done.manifest.outcome is Outcome.COMPLETE
    assert site.in_snapshot(site.snapshots[0], "a-small").stat().st_ino == left
    assert (site.in_snapshot(site.snapshots[0], "b-long").read_bytes()) == (
        site.source / "b-long"
    ).read_bytes()
    assert list(site.places.incoming.iterdir()) == []
    assert list(site.places.trash.iterdir()) == []


def test_going_on_after_an_interruption_does_not_change_history(site: Site) -> None:
    site.run("t1")
    with half_done(site, "t2") as process:
        process.kill()
        wait_until(lambda: nobody_writes(site))
    (site.source / "notes").chmod(0o600)
    os.chown(site.source / "notes", os.getuid(), os.getgid())
    site.run("t2")
    first, second = (site.in_snapshot(snapshot, "notes").stat() for snapshot in site.snapshots)
    assert (first.st_mode & 0o777, second.st_mode & 0o777) == (0o644, 0o600)


def test_what_a_crashed_machine_left_is_not_built_on(site: Site) -> None:
    with half_done(site, "t1") as process:
        process.kill()
        wait_until(lambda: nobody_writes(site))
    # After a crash, a file may have its size and time, but zeros for content.
    left = next(iter(site.places.incoming.rglob("a-small")))
    stamp = left.stat()
    left.write_bytes(bytes(stamp.st_size))
    os.utime(left, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    run = next(iter(site.places.incoming.rglob("run.json")))
    run.write_text('{"boot_id": "another boot", "pid": 1}')
    site.run("t1")
    assert site.in_snapshot(site.snapshots[0], "a-small").read_text() == "copied before the end\n"


def test_two_runs_of_one_backup_never_write_at_once(site: Site) -> None:
    with half_done(site, "t1") as process:
        with pytest.raises(BackupPostponed, match=f"written by task 't1' \\(process {process.pid}\\)"):
            site.run("t2")
        assert BackupPostponed.retry_seconds


def test_a_task_that_is_delivered_again_at_once_waits_for_its_dying_rsync(site: Site) -> None:
    with half_done(site, "t1") as process:
        # Not waited for: like a worker's child that its parent has not collected yet.
        process.kill()
        assert site.run("t1").manifest.outcome is Outcome.COMPLETE


def test_another_backup_of_the_host_runs_meanwhile(site: Site) -> None:
    with half_done(site, "t1"):
        assert site.having(name="other", sources=(str(site.source / "etc"),)).run("t2").manifest.is_good


def test_an_rsync_that_was_left_behind_still_holds_the_lock(tmp_path: Path) -> None:
    """Show it with a child that ignores the parent-death signal, as a process of another user would."""
    lock, ready = tmp_path / "lock", tmp_path / "ready"
    program = f"""
import fcntl, os, sys
from fleet.backup.child import run_child
lock = os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
stubborn = "trap '' TERM; echo $$ > {ready}; while :; do sleep 0.2; done"
run_child(("/bin/sh", "-c", stubborn), environ={{"PATH": "/usr/bin:/bin"}}, on_stdout=print,
          on_stderr=print, inherit=(lock,))
"""
    process = subprocess.Popen((sys.executable, "-c", program), cwd=ROOT)
    wait_until(lambda: ready.exists() and ready.read_text().strip())
    orphan = int(ready.read_text())
    try:
        process.kill()
        process.wait(20)
        assert is_locked(lock)
    finally:
        os.killpg(orphan, signal.SIGKILL)
    wait_until(lambda: not is_locked(lock))


def test_a_child_whose_parent_died_before_it_started_does_nothing(tmp_path: Path) -> None:
    from fleet.backup import launch

    touched = tmp_path / "touched"
    answer = subprocess.run(
        (sys.executable, "-I", str(launch.__file__), "1", "/usr/bin/touch", str(touched)), check=False
    )
    assert answer.returncode == 128 + signal.SIGTERM
    assert not touched.exists()


def is_locked(path: Path) -> bool:
    """Ask with the tool of the system, as an operator would."""
    return subprocess.run(("flock", "--nonblock", str(path), "true"), check=False).returncode == 1
