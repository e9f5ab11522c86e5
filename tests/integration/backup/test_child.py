import os
import signal
import threading
from pathlib import Path

import pytest

from fleet.backup.child import run_child
from fleet.backup.rsync import ENVIRON, Progress
from fleet.backup.run import run_backup
from tests.integration.backup.site import Site, processes_naming, wait_until


class Interrupted(Exception):
    """Stands for a time limit, raised in the middle of a run."""


def run(script: str, *arguments: str, grace_seconds: float = 10) -> tuple[int, list[str], list[str]]:
    stdout: list[str] = []
    stderr: list[str] = []
    code = run_child(
        ("/bin/sh", "-c", script, *arguments),
        environ=ENVIRON,
        on_stdout=stdout.append,
        on_stderr=stderr.append,
        grace_seconds=grace_seconds,
    )
    return code, stdout, stderr


def test_the_exit_code_and_both_streams_come_back() -> None:
    assert run("echo out; echo err >&2; exit 23") == (23, ["out"], ["err"])


def test_a_child_that_a_signal_ended_reports_its_number() -> None:
    assert run("kill -9 $$")[0] == -signal.SIGKILL


def test_carriage_returns_end_lines_and_a_last_line_needs_no_end() -> None:
    assert run(r"printf '1%%\r2%%\rdone\nrest'")[1] == ["1%", "2%", "done", "rest"]


def test_bytes_that_are_no_text_do_not_break_the_reader() -> None:
    assert run(r"printf 'a\377b\n'")[1] == ["a\\xffb"]


def test_much_output_on_both_streams_does_not_block() -> None:
    code, stdout, stderr = run("seq 1 50000; seq 1 50000 >&2")
    assert (code, len(stdout), len(stderr)) == (0, 50_000, 50_000)


def test_a_child_sees_a_small_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_BROKER_PASSWORD", "hunter2")
    names = {line.partition("=")[0] for line in run("exec /usr/bin/env")[1]}
    assert names <= {"LC_ALL", "PATH", "PWD", "SHLVL", "_"}


def test_ignored_and_blocked_signals_are_not_inherited() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run("kill -TERM $$; sleep 5")[0] == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["obedient", "deaf to SIGTERM"])
def test_an_exception_in_the_middle_ends_the_whole_group(tmp_path: Path, trap: str) -> None:
    mark = tmp_path / "mark"

    def interrupt(line: str) -> None:
        raise Interrupted(line)

    with pytest.raises(Interrupted):
        run_child(
            ("/bin/sh", "-c", f"{trap} sh -c '{trap} echo started; sleep 30; true' {mark} & wait", str(mark)),
            environ=ENVIRON,
            on_stdout=interrupt,
            on_stderr=print,
            grace_seconds=0.3,
        )
    wait_until(lambda: not processes_naming(mark))


def test_a_child_may_be_started_from_any_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run("exit 7")[0]))
    thread.start()
    thread.join(20)
    assert codes == [7]


def test_a_time_limit_in_the_middle_of_a_backup_ends_rsync_and_the_next_run_goes_on(site: Site) -> None:
    (site.source / "long").write_bytes(os.urandom(1_500_000))
    seen: list[Progress] = []

    def interrupt(progress: Progress) -> None:
        seen.append(progress)
        if progress.bytes > 100_000:
            raise Interrupted

    slow = site.having(bandwidth_limit_bytes_per_second=300_000)
    with pytest.raises(Interrupted):
        run_backup(
            slow.backup,
            host="alpha",
            task_id="t1",
            state_dir=site.state_dir,
            clock=site.clock,
            on_progress=interrupt,
        )
    assert 0 < (seen[-1].percent or 0) < 100
    assert not processes_naming(site.places.root)
    assert site.run("t1").manifest.is_good
