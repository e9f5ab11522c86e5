"""What does `pip install --target` leave behind? Parts of releases are made of that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.hosts.pip import run_pip
from fleet.hosts.record import paths_in, unbound
from fleet.hosts.target import Target, pip_options
from fleet.hosts.wheel import Wheel, pack

#: one of everything that a wheel may bring
ODD = Wheel(
    name="odd",
    version="1",
    files={
        "odd/__init__.py": b"def main():\n    print('odd')\n",
        "odd-1.data/purelib/odd/pure.py": b"",
        "odd-1.data/platlib/odd/plat.py": b"",
        "odd-1.data/scripts/odd-script": b"#!python\nprint('script')\n",
        "odd-1.data/scripts/odd-shell": b"#!/bin/sh\necho shell\n",
        "odd-1.data/data/share/odd/data.txt": b"data",
        "odd-1.data/data/lib/odd.so": b"library",
        "odd-1.data/headers/odd.h": b"",
    },
    entry_points="[console_scripts]\nodd-main = odd:main\n",
)
SCRIPTS = {"bin/odd-main", "bin/odd-script"}


def install(directory: Path, *options: str, python: str = sys.executable) -> Path:
    (directory / ODD.file_name).write_bytes(pack(ODD))
    target = directory / "target"
    what = ("--no-index", "--no-deps", "--no-compile", f"--target={target}", str(directory / ODD.file_name))
    if python == sys.executable:
        assert run_pip("install", *options, *what, timeout_seconds=60).returncode == 0
    else:
        # The environment of another path borrows this one's pip.
        (here,) = {path for path in sys.path if path.endswith("site-packages")}
        argv = (python, "-m", "pip", "install", "--quiet", *options, *what)
        subprocess.run(argv, env=os.environ | {"PYTHONPATH": here}, check=True, timeout=60)
    return target


def recorded(target: Path) -> set[str]:
    return set(paths_in((target / "odd-1.dist-info" / "RECORD").read_text()))


@pytest.mark.parametrize(
    "options",
    [(), pip_options(Target(python=(3, 99), machine="aarch64"))],
    ids=["this Python", "another Python and machine"],
)
def test_every_file_is_recorded_nothing_is_compiled_and_data_below_lib_is_left_out(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    target = install(tmp_path, *options)
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert recorded(target) == there | {"lib/odd.so"}
    modules = {"odd/__init__.py", "odd/pure.py", "odd/plat.py"}
    assert {*modules, *SCRIPTS, "bin/odd-shell", "share/odd/data.txt"} < there
    assert any(path.endswith("/odd.h") for path in there)
    assert not any(path.endswith(".pyc") for path in there)


def test_what_lies_beside_the_modules_is_recorded_as_from_lib_python(tmp_path: Path) -> None:
    target = install(tmp_path)
    lines = (target / "odd-1.dist-info" / "RECORD").read_text().splitlines()
    assert {line.split(",")[0] for line in lines if line.startswith("..")} == {
        *(f"../../{path}" for path in SCRIPTS),
        "../../bin/odd-shell",
        "../../share/odd/data.txt",
        "../odd.so",
        *(f"../../{path}" for path in recorded(target) if path.endswith(".h")),
    }


def test_scripts_begin_with_the_python_that_pip_runs_with_or_with_their_own(tmp_path: Path) -> None:
    target = install(tmp_path)
    for path in SCRIPTS:
        assert unbound((target / path).read_bytes(), sys.executable) is not None
    assert os.access(target / "bin/odd-main", os.X_OK)
    assert unbound((target / "bin/odd-shell").read_bytes(), sys.executable) is None


@pytest.mark.parametrize("name", ["l" * 120, "two words"], ids=["long", "with a blank"])
def test_scripts_of_a_python_whose_path_the_kernel_does_not_take_are_known_too(
    tmp_path: Path, name: str
) -> None:
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", tmp_path / name), check=True, timeout=60)
    python = str(tmp_path / name / "bin" / "python")
    target = install(tmp_path, python=python)
    script = (target / "bin/odd-main").read_bytes()
    assert script.startswith(b"#!/bin/sh\n")
    made = unbound(script, python)
    assert made is not None
    assert python.encode() not in made
