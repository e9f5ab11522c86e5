"""The rules and their cases (tests/cases/alerts) go through Prometheus's own tool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.metrics.rule import RUNBOOK_URL
from fleet.metrics.rules import alerts
from fleet.ops.prometheus import rule_document, write

CASES = Path(__file__).parents[2] / "cases" / "alerts"
NAMES = sorted({alert.name for alert in alerts()})
#: alerts whose limit is declared in the fleet file, and the metric that carries it
LIMITS = {
    "FleetBackupOverdue": "fleet_job_max_age_seconds",
    "FleetBackupNeverSucceeded": "fleet_job_max_age_seconds",
    "FleetDeadLetterQueueNearlyFull": "fleet_queue_max_dead_letters",
    "FleetQueueWaitTooLong": "fleet_queue_max_wait_seconds",
    "FleetScheduleMissed": "fleet_schedule_grace_seconds",
    "FleetTaskErrorBudgetBurn": "fleet_queue_error_budget_ratio",
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rule file, where the cases expect it."""
    path = tmp_path / "rules.yml"
    write(rule_document(runbook_url=RUNBOOK_URL), path)
    return path


def run(*argv: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_promtool_accepts_the_rules(promtool: Path, rules: Path) -> None:
    done = run(promtool, "check", "rules", rules)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_alert_fires_and_is_quiet_as_its_cases_say(promtool: Path, rules: Path, name: str) -> None:
    shutil.copy(CASES / f"{name}.yml", rules.parent)
    done = run(promtool, "test", "rules", rules.parent / f"{name}.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", LIMITS)
def test_an_alert_follows_the_limit_that_is_exported(promtool: Path, rules: Path, name: str) -> None:
    case = (CASES / f"{name}.yml").read_text(encoding="utf-8")
    limit = re.compile(rf"({LIMITS[name]}{{.*\n +values: )([\d.]+)")
    changed, changes = limit.subn(lambda found: f"{found[1]}{float(found[2]) * 1000:g}", case)
    assert changes
    mutated = rules.parent / "mutated.yml"
    mutated.write_text(changed, encoding="utf-8")
    assert run(promtool, "test", "rules", mutated).returncode == 1
