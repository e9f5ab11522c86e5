import secrets
import subprocess
import sys
from pathlib import Path

from fleet.daemons.process import Child, Command
from fleet.ops.demo.leftovers import Snapshot, compare, observe
from tests.integration.test_child_processes import SLEEPER, soon
from tests.servers import clean_environ


def look(token: str, tmp_path: Path) -> Snapshot:
    return observe(token, private=[tmp_path / "private"], shared=[tmp_path / "shared"])


def test_a_process_a_port_and_files_that_stay_are_found(tmp_path: Path) -> None:
    token = f"token-{secrets.token_hex(4)}"
    (tmp_path / "private").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / token).mkdir()
    before = look(token, tmp_path)
    command = Command(
        name="http",
        argv=(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"),
        environ=clean_environ(),
        log=tmp_path / "log",
        cwd=tmp_path / token,
    )
    child = Child.start(command)
    try:
        assert soon(lambda: "port" in (tmp_path / "log").read_text())
        port = int((tmp_path / "log").read_text().split(" port ")[1].split()[0])
        (tmp_path / "private" / "anything").touch()
        (tmp_path / "shared" / token).touch()
        (tmp_path / "shared" / "of somebody else").touch()
        found = compare(before, look(token, tmp_path), ours=[port], token=token)
    finally:
        child.stop()
    assert [process.split()[0] for process in found.processes] == [str(child.pid)]
    assert found.ports == (port,)
    assert found.files == (str(tmp_path / "private" / "anything"), str(tmp_path / "shared" / token))


def test_a_process_of_somebody_else_is_none_of_ours(tmp_path: Path) -> None:
    token = f"token-{secrets.token_hex(4)}"
    before = look(token, tmp_path)
    other = subprocess.Popen((sys.executable, "-c", SLEEPER))
    try:
        assert str(compare(before, look(token, tmp_path), ours=[], token=token)) == ""
    finally:
        other.kill()
        other.wait()
