"""Every exit code that the code can end with is one that the reference page explains."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from fleet.cli.main import INTERRUPTED
from fleet.errors import ConfigError, Problem, UsageError
from tests.docs.exit_codes import MEANINGS

ROOT = Path(__file__).parents[2]


def exit_codes() -> Iterator[tuple[str, object]]:
    """Yield each class that says its exit code, and the code."""
    for package in ("fleet", "provisioning"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if "exit_code" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef):
                    yield from ((node.name, code) for code in _codes(node))


def _codes(node: ast.ClassDef) -> Iterator[object]:
    for statement in node.body:
        named = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        value = getattr(statement, "value", None)
        if any(isinstance(name, ast.Name) and name.id == "exit_code" for name in named) and value:
            yield ast.literal_eval(value)


def test_every_error_ends_with_a_code_of_the_reference() -> None:
    found = dict(exit_codes())
    assert {"FleetError", "ConfigError", "BrokerUnreachable"} <= set(found)
    assert set(found.values()) <= set(MEANINGS)


def test_an_interrupt_and_a_wrong_usage_end_with_codes_of_the_reference() -> None:
    assert INTERRUPTED in MEANINGS
    assert UsageError.exit_code == ConfigError.exit_code == 2


def test_a_config_error_shows_every_problem_with_its_place_and_its_hint() -> None:
    problems = [
        Problem(file="f", key="a.b", message="is wrong", line=3, hint="write c"),
        Problem(file="f", key="", message="cannot be read"),
    ]
    assert str(ConfigError(problems)) == "f:3: a.b: is wrong\n    write c\nf: cannot be read"


def test_a_full_disk_where_the_output_goes_is_said_and_is_no_fault_of_fleet() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", "--version"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: no space is left where the output goes\n")
