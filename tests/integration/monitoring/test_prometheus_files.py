import json
import subprocess
from pathlib import Path

import pytest
import yaml

from fleet.errors import FleetError
from fleet.ops.prometheus import rule_document, target_document, write
from tests.servers import RunFleet
from tests.unit.metrics.fleets import WALK

FLEET_FILE = """
[fleet]
name = "shop"
[broker]
url = "amqp://127.0.0.1"
password = "env:FLEET_BROKER_PASSWORD"
[hosts.alpha]
"""


def test_a_file_is_written_once_and_left_alone_while_it_is_true(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    assert write(target_document(WALK), path).changed
    before = path.stat()
    assert not write(target_document(WALK), path).changed
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert json.loads(path.read_text())[0]["labels"]["host"] == "alpha"


def test_prometheus_may_read_the_file_and_finds_no_other_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("old")
    path.chmod(0o600)
    write(rule_document(runbook_url="{alert}"), path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_prometheus_accepts_the_configuration_and_its_files(
    promtool: Path, run_fleet: RunFleet, tmp_path: Path
) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET_FILE)
    for verb, name in (("targets", "fleet-targets.json"), ("rules", "fleet-rules.yml"), ("config", "p.yml")):
        done = run_fleet("prometheus", verb, "--output", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"wrote {name}\n")
    argv = (promtool, "check", "config", tmp_path / "p.yml")
    checked = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    groups = yaml.safe_load((tmp_path / "fleet-rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 26
    assert f"{len(rules)} rules found" in checked.stdout


def test_the_same_is_answered_as_json(run_fleet: RunFleet, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET_FILE)
    config = json.loads(run_fleet("prometheus", "config", "--json", "--beat", "alpha:9550").stdout)
    assert [job["job_name"] for job in config["scrape_configs"]][:2] == ["fleet-worker", "fleet-beat"]
    assert json.loads(run_fleet("prometheus", "rules", "--json").stdout)["groups"]
    done = run_fleet("prometheus", "rules", "--json", "--output", "r.yml")
    assert json.loads(done.stdout) == {"path": "r.yml", "changed": True}


def test_without_a_fleet_file_there_are_no_targets(run_fleet: RunFleet) -> None:
    done = run_fleet("prometheus", "targets")
    assert done.returncode == 2
    assert "fleet.toml" in done.stderr


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"cannot write .*: No such file or directory") as caught:
        write(target_document(WALK), tmp_path / "missing" / "targets.json")
    assert caught.value.hint
