import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.daemons.process import accepts
from fleet.daemons.rabbitmq import RabbitNode
from tests.servers import clean_environ

SECONDS = 60


@contextmanager
def broker_run(directory: Path, number: signal.Signals) -> Iterator[dict[str, Any]]:
    """Run `fleet broker run --json` while the body runs, end it with ``number`` and expect a clean end."""
    output = directory.with_suffix(".json")
    argv = (sys.executable, "-m", "fleet.cli.main", "broker", "run", "--dir", str(directory), "--json")
    with output.open("w") as stdout, directory.with_suffix(".err").open("w") as stderr:
        process = subprocess.Popen(argv, stdout=stdout, stderr=stderr, env=clean_environ())
        try:
            yield json.loads(_text_when_complete(output, process))
        finally:
            process.send_signal(number)
            assert process.wait(timeout=SECONDS) == 0


def _text_when_complete(output: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + SECONDS
    while not (text := output.read_text()).endswith("}\n"):
        assert process.poll() is None, output.with_suffix(".err").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return text


def test_the_same_directory_gives_the_same_broker_again_and_nothing_runs_on(
    rabbit: RabbitNode, tmp_path: Path
) -> None:
    with broker_run(tmp_path / "broker", signal.SIGINT) as first:
        port = int(first["url"].rpartition(":")[2])
        assert accepts(port)
    assert not accepts(port)
    with broker_run(tmp_path / "broker", signal.SIGTERM) as second:
        assert second == first
    assert not accepts(port)


def test_a_port_in_use_is_one_error_with_a_hint(rabbit: RabbitNode, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "fleet.cli.main", "broker", "run")
    options = ("--dir", str(tmp_path / "broker"), "--port", str(rabbit.port))
    done = subprocess.run(
        (*argv, *options), capture_output=True, text=True, timeout=SECONDS, env=clean_environ(), check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"error: port {rabbit.port} is in use on 127.0.0.1" in done.stderr
    assert "hint: choose another one with `--port`" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_directory_may_come_from_the_environment(rabbit: RabbitNode, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "fleet.cli.main", "broker", "run", "--port", str(rabbit.port))
    environ = clean_environ() | {"FLEET_BROKER_RUN_DIR": str(tmp_path / "elsewhere")}
    subprocess.run(argv, capture_output=True, timeout=SECONDS, env=environ, check=False)
    assert (tmp_path / "elsewhere").is_dir()
