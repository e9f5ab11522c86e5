"""The role for Prometheus, on a machine that has the packages and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ansible import BIN, Ansible, Played, inventory
from tests.hosts.fixtures import SERVICES, CleanHosts
from tests.hosts.lab.system import await_that
from tests.servers import clean_environ

MONITORING = "fleet.fleet.monitoring"
FLEET_TOML = """\
[fleet]
name = "shop"
[broker]
url = "amqp://127.0.0.1:5672"
password = "env:P"
[hosts.alpha]
address = "10.0.0.11"
[queues.mail]
tasks = ["fleet.check_urls"]
[workers.mail]
queues = ["mail"]
"""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    made = Ansible(tmp_path_factory.mktemp("a"))
    made.install()
    return made


def rendered(file: Path, *arguments: str) -> bytes:
    argv = (sys.executable, "-m", "fleet.cli.main", "--file", str(file), "prometheus", *arguments)
    return subprocess.run(argv, env=clean_environ(), check=True, capture_output=True, timeout=60).stdout


def test_prometheus_judges_by_the_files_that_fleet_makes(
    ansible: Ansible, clean_hosts: CleanHosts, tmp_path: Path
) -> None:
    (services,) = clean_hosts(SERVICES)
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET_TOML)
    hosts = inventory(tmp_path, "fleet_monitoring", services)
    given = {
        "fleet_monitoring_file": file,
        "fleet_monitoring_command": BIN / "fleet",
        "fleet_monitoring_beats": ["alpha:9539"],
    }

    def play(*options: str) -> Played:
        played = ansible.play(hosts, MONITORING, "--tags", "configure", *options, given=given)
        assert played.exit_code == 0, played.output
        return played

    before = services.read("/etc/prometheus/prometheus.yml")
    checked = play("--check", "--diff")
    # Three files, and what reads them.
    assert checked.changed == {SERVICES: 4}, checked.output
    assert "+  - job_name: fleet-worker" in checked.output.replace('"', "")
    assert services.read("/etc/prometheus/prometheus.yml") == before
    assert play().changed == {SERVICES: 4}
    assert play().changed == {SERVICES: 0}
    assert play("--check").changed == {SERVICES: 0}
    assert services.read("/etc/prometheus/fleet-targets.json") == rendered(file, "targets")
    assert services.read("/etc/prometheus/fleet-rules.yml") == rendered(file, "rules")

    def asked(path: str) -> str:
        fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/{path}').read().decode())"
        return services.console("python3", "-c", fetch, check=False)

    await_that(lambda: "FleetWorkerDown" in asked("rules"), "the rules should be loaded", timeout_seconds=30)
    await_that(lambda: "10.0.0.11:" in asked("targets"), "the targets should be known", timeout_seconds=30)
