import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import clean_environ

ROOT = Path(__file__).parents[2]
SKIPPING = """
import pytest

def test_that_lacks_something():
    pytest.skip("no rsync here")

@pytest.mark.xfail(reason="known", strict=True)
def test_that_is_expected_to_fail():
    assert False
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(SKIPPING)
    return tmp_path


def run(suite: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    # The root of the project is on the path for the shared fixtures.
    settings = clean_environ() | {"PYTHONPATH": str(ROOT)} | environ
    argv = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(suite),
        str(suite),
    )
    return subprocess.run(
        argv, cwd=suite, env=settings, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_skip_says_in_one_line_what_is_missing(suite: Path) -> None:
    done = run(suite)
    assert done.returncode == 0
    assert "skipped here, a failure in CI: no rsync here" in done.stdout


def test_in_ci_a_skip_is_a_failure_and_an_expected_failure_is_none(suite: Path) -> None:
    done = run(suite, CI="1")
    assert done.returncode == 1
    assert "1 failed, 1 xfailed" in done.stdout
    assert "skipped, which counts as a failure in CI: no rsync here" in done.stdout
