import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleet.daemons.process import accepts
from tests.servers import clean_environ

ARGV = (sys.executable, "-m", "fleet.cli.main", "demo")
SECONDS = 150


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Everything the demo makes goes below the test's directory."""
    (tmp_path / "tmp").mkdir()
    return clean_environ() | {"TMPDIR": str(tmp_path / "tmp")}


@pytest.mark.timeout(SECONDS + 30)
def test_every_claim_of_the_demo_holds_and_nothing_is_left(tmp_path: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        (*ARGV, "--json"),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert [claim for claim in report["claims"] if not claim["ok"]] == []
    assert done.returncode == 0
    assert len(report["claims"]) >= 12
    assert list((tmp_path / "tmp").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"tmp"}


@pytest.mark.timeout(120)
def test_an_interrupted_demo_stops_its_broker_and_removes_its_directory(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    process = subprocess.Popen(ARGV, cwd=tmp_path, env=environ, stderr=subprocess.DEVNULL)
    try:
        port = _port_of_running_broker(tmp_path / "tmp", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.wait()
    assert not accepts(port)
    assert list((tmp_path / "tmp").iterdir()) == []


def _port_of_running_broker(directory: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        for ports in directory.glob("fleet-demo-*/broker/ports.json"):
            port = _amqp_port(ports)
            if port and accepts(port):
                return port
        time.sleep(0.05)
    raise AssertionError(f"no broker within a minute in {directory}")


def _amqp_port(ports: Path) -> int:
    try:
        return int(json.loads(ports.read_text())["amqp"])
    except ValueError:
        # It is being written.
        return 0
