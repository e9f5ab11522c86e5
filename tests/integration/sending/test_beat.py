"""``fleet beat`` as a process, against a real broker."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from fleet.daemons.process import free_ports
from fleet.publish import task_id_for_key
from fleet.routes import TASK_EXCHANGE
from tests.integration.sending.topology import Site

BODY = """
[hosts.alpha]
address = "127.0.0.1"

[queues.email]
tasks = ["shop.*"]

[schedule.pulse]
task = "shop.pulse"
every = 2
grace = "30s"
kwargs = { depth = 3 }
"""


@pytest.fixture
def fleet_file(site: Site) -> Path:
    site.declare_all()
    return site.vhost.write_fleet_toml(BODY)


def command(fleet_file: Path, *options: str) -> tuple[str, ...]:
    return (
        sys.executable,
        "-W",
        "error",
        "-m",
        "fleet.cli.main",
        "--file",
        str(fleet_file),
        "beat",
        *options,
    )


def environ() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


@contextmanager
def beating(fleet_file: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run beat, and end it with SIGTERM, which it must obey at once."""
    log = fleet_file.with_suffix(".log")
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command(fleet_file, *(options or ("--metrics-port", "0"))), stderr=stderr, env=environ()
        )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def depth(site: Site) -> int:
    with site.connection() as connection:
        return int(connection.channel().queue_declare("fleet.email", passive=True).message_count)


def fills(site: Site, count: int) -> bool:
    """Wait until the queue holds ``count`` messages."""
    return until(lambda: depth(site) >= count)


def test_beat_sends_each_run_once_on_time_and_a_restart_repeats_nothing(site: Site, fleet_file: Path) -> None:
    for count in (2, 4):
        with beating(fleet_file):
            assert fills(site, count)
    messages = site.messages("fleet.email")
    slots = [int(message.headers["fleet_key"].rpartition("/")[2]) for message in messages]
    assert slots == sorted(set(slots))
    assert all(slot % 2 == 0 for slot in slots)
    assert [message.headers["id"] for message in messages] == [
        task_id_for_key("test", "shop.pulse", f"schedule/pulse/*/{slot}") for slot in slots
    ]
    assert all(
        0 <= message.headers["fleet_sent"] - slot < 30 for slot, message in zip(slots, messages, strict=True)
    )


def test_a_broker_that_comes_back_within_the_grace_gets_the_newest_run(site: Site, fleet_file: Path) -> None:
    with beating(fleet_file) as process:
        assert fills(site, 1)
        with site.connection() as connection:
            connection.channel().exchange_delete(TASK_EXCHANGE)
        before = depth(site)
        assert until(lambda: "NOT_FOUND" in fleet_file.with_suffix(".log").read_text())
        with site.connection() as connection:
            channel = connection.channel()
            channel.exchange_declare(TASK_EXCHANGE, "topic", durable=True, auto_delete=False)
            channel.queue_bind("fleet.email", TASK_EXCHANGE, "fleet.email")
        assert fills(site, before + 1)
        assert process.poll() is None


def test_a_second_beat_of_the_same_host_is_refused(fleet_file: Path) -> None:
    with beating(fleet_file) as first:
        lock = fleet_file.parent / "state" / "beat.lock"
        assert until(lambda: lock.exists() and lock.read_text().strip() == str(first.pid))
        second = subprocess.run(
            command(fleet_file), capture_output=True, text=True, timeout=30, check=False, env=environ()
        )
        assert second.returncode == 2
        assert f"another beat of this fleet runs on this host (process {first.pid}" in second.stderr


def test_beat_tells_prometheus_when_each_entry_was_sent_and_is_due(site: Site, fleet_file: Path) -> None:
    (port,) = free_ports(1)
    with beating(fleet_file, "--metrics-port", str(port), "--metrics-address", "127.0.0.1"):
        assert fills(site, 1)
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        ready = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert abs(time.time() - float(values['fleet_schedule_last_sent_timestamp_seconds{entry="pulse"}'])) < 30
    assert abs(time.time() - float(values['fleet_schedule_next_due_timestamp_seconds{entry="pulse"}'])) < 30
    assert float(values['fleet_schedule_grace_seconds{entry="pulse"}']) == 30
    assert float(values['fleet_schedule_last_missed_timestamp_seconds{entry="pulse"}']) == 0
    assert float(values["fleet_beat_active"]) == 1
    assert ready.status_code == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("vhost = ", 'vhost = "nowhere" # '), "vhost nowhere not found"),
        (("state_dir = ", 'state_dir = "/proc/nowhere" # '), "cannot keep its state in /proc/nowhere"),
    ],
)
def test_beat_ends_at_once_with_the_reason_when_it_cannot_work(
    fleet_file: Path, change: tuple[str, str], message: str
) -> None:
    fleet_file.write_text(fleet_file.read_text().replace(*change))
    done = subprocess.run(
        command(fleet_file, "--metrics-port", "0"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environ(),
    )
    assert done.returncode == 1, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_beat_without_a_schedule_says_so(site: Site) -> None:
    path = site.vhost.write_fleet_toml(BODY[: BODY.index("[schedule")])
    done = subprocess.run(
        command(path), capture_output=True, text=True, timeout=30, check=False, env=environ()
    )
    assert done.returncode == 2
    assert "schedules nothing" in done.stderr
