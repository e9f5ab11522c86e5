import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.daemons.process import Child, Command, DaemonFailed, free_ports, marked, require_free
from tests.servers import clean_environ

SLEEPER = "import time; time.sleep(600)"
#: a grandchild with a session of its own, as a daemon makes it, and a child that outlives SIGTERM
STUBBORN = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


def child(tmp_path: Path, program: str) -> Child:
    command = Command(
        name="child", argv=(sys.executable, "-c", program), environ=clean_environ(), log=tmp_path / "log"
    )
    return Child.start(command)


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_stopped_child_leaves_no_descendant_even_one_with_a_session_of_its_own(tmp_path: Path) -> None:
    one = child(tmp_path, STUBBORN)
    one.await_ready(lambda: "ready" in (tmp_path / "log").read_text(), timeout_seconds=20)
    assert soon(lambda: len(marked(one.mark)) == 2)
    one.stop(grace_seconds=0.1)
    assert marked(one.mark) == []
    assert not one.is_alive()


def test_a_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    one = child(tmp_path, "raise SystemExit('no such configuration')")
    with pytest.raises(DaemonFailed, match="no such configuration"):
        one.await_ready(lambda: False, timeout_seconds=20)
    one.kill()


def test_a_child_that_is_not_ready_in_time_is_reported_with_its_log(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEPER)
    try:
        with pytest.raises(DaemonFailed, match="not ready within") as caught:
            one.await_ready(lambda: False, timeout_seconds=0.1)
        assert caught.value.hint == f"see {tmp_path / 'log'}"
    finally:
        one.kill()


def test_stopping_twice_does_nothing_the_second_time(tmp_path: Path) -> None:
    one = child(tmp_path, SLEEPER)
    one.stop()
    one.stop()
    one.kill()


def test_a_child_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    parent = f"""
import sys, time
from pathlib import Path
from tests.integration.test_child_processes import SLEEPER, child
one = child(Path({str(tmp_path)!r}), SLEEPER)
print(one.mark, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        (sys.executable, "-c", parent), stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    mark = process.stdout.readline().strip()
    try:
        assert soon(lambda: bool(marked(mark)))
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert soon(lambda: not marked(mark))


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        require_free(port, option="--port")
