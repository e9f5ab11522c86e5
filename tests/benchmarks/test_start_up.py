"""How long does an operator wait for the command line? Each command in turns with an empty Python."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from fleet.config.starter import STARTER

ROUNDS = 11
FLEET = (sys.executable, "-m", "fleet.cli.main")


def seconds(argv: tuple[str, ...], directory: Path) -> float:
    started = time.perf_counter()
    subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=60)
    return time.perf_counter() - started


def test_the_command_line_starts_in_a_few_times_an_empty_python(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(STARTER, encoding="utf-8")
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "fleet --help": (*FLEET, "--help"),
        "fleet config check": (*FLEET, "config", "check"),
        "fleet worker --help": (*FLEET, "worker", "--help"),
    }
    rounds = [[seconds(argv, tmp_path) for argv in commands.values()] for _ in range(ROUNDS)]
    medians = dict(zip(commands, map(median, zip(*rounds, strict=True)), strict=True))
    empty = medians["python -c pass"]
    print()
    for name, value in medians.items():
        print(f"{name}: {value * 1e3:.0f} ms = {value / empty:.1f} x an empty Python")
    assert medians["fleet --help"] / empty < 10
