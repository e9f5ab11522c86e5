"""Every alert is shown firing and quiet by promtool; tests/integration/test_alert_rules.py runs the cases."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.metrics.rules import alerts

CASES = Path(__file__).parents[2] / "cases" / "alerts"
NAMES = sorted({alert.name for alert in alerts()})


def expectations(name: str) -> list[list[object]]:
    """Return what each test of the alert expects at each of its times."""
    file: Any = yaml.load((CASES / f"{name}.yml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return [
        time["exp_alerts"]
        for test in file["tests"]
        for time in test.get("alert_rule_test", [])
        if time["alertname"] == name
    ]


def test_each_alert_has_its_file_of_cases_and_each_file_its_alert() -> None:
    assert sorted(path.stem for path in CASES.glob("*.yml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_shown_firing_and_quiet(name: str) -> None:
    found = expectations(name)
    assert any(found)
    assert not all(found)
