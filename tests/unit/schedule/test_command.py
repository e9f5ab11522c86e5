import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli.main import fleet

FILE = """
[fleet]
name = "test"
timezone = "Europe/Berlin"
state_dir = "/var/lib/fleet"
[broker]
url = "amqp://127.0.0.1"
password = "env:P"
[hosts.alpha]
address = "127.0.0.1"
[hosts.beta]
address = "127.0.0.2"
[workers.backup]
hosts = ["alpha"]
queues = ["backup"]
[workers.shared]
hosts = ["*"]
queues = ["email", "default"]
[backups.etc]
hosts = ["alpha"]
sources = ["/etc"]
destination = "/var/backups/fleet"
[urls.shop]
url = "https://shop.example.org/"
"""
ENTRIES = """
[schedule.nightly]
backup = "etc"
crontab = "30 2 * * *"
[schedule.urls]
task = "fleet.check_urls"
every = "5m"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "fleet.toml"
    made.write_text(FILE + ENTRIES)
    return made


def test_the_next_runs_come_in_order_with_their_keys(path: Path) -> None:
    done = CliRunner().invoke(fleet, ["--file", str(path), "schedule", "--count", "2", "--json"])
    runs = json.loads(done.stdout)
    assert [run["due"] for run in runs] == sorted(run["due"] for run in runs)
    assert [run["entry"] for run in runs].count("urls") == 2
    nightly = next(run for run in runs if run["entry"] == "nightly")
    assert (nightly["host"], nightly["task"]) == ("alpha", "fleet.backup")
    assert "T02:30:00+0" in nightly["due"]
    assert nightly["key"].startswith("schedule/nightly/alpha/")


def test_an_empty_schedule_is_no_error(path: Path) -> None:
    path.write_text(FILE)
    done = CliRunner().invoke(fleet, ["--file", str(path), "schedule"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "schedules nothing" in done.stderr
