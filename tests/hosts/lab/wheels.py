"""Which wheels does a worker host need, given that it cannot reach any index?

The control machine downloads them, verified by the hashes of constraints.txt, and hosts install them
offline. A wheel fits one minor version of Python, so hosts run the Debian suite whose Python is the control
machine's.
"""

import platform
import subprocess
import sys
from pathlib import Path

from fleet.hosts.fetched import requirements_of
from fleet.hosts.target import Target
from tests.hosts.lab.layers import Layer
from tests.hosts.lab.system import LabFailed

ROOT = Path(__file__).parents[3]
#: the Python of each suite's package python3
PYTHONS = {"bookworm": (3, 11), "trixie": (3, 13)}
DOWNLOAD_SECONDS = 600


def suite_of_this_python() -> str:
    """Return the suite whose Python takes the wheels of this interpreter. Raises LabFailed."""
    for suite, version in PYTHONS.items():
        if version == sys.version_info[:2]:
            return suite
    mine = ".".join(map(str, sys.version_info[:2]))
    raise LabFailed(
        f"no Debian suite of the lab has Python {mine}, so wheels of this interpreter would not fit",
        hint="run the tests with Python 3.11 or 3.13",
    )


def fleet_layer() -> Layer:
    """Return the layer that holds what fleet needs at run time, in a virtual environment at /opt/fleet."""
    return Layer(name="fleet", requirements=runtime_requirements())


def runtime_requirements() -> str:
    """Return the part of constraints.txt that fleet needs to run, hashes included, as a requirements file."""
    return requirements_of(Target(python=sys.version_info[:2], machine=platform.machine()))


def download_wheels(requirements: str, directory: Path) -> None:
    """Fetch the wheels of ``requirements`` into ``directory``, next to the file itself. Raises LabFailed."""
    directory.mkdir()
    file = directory / "requirements.txt"
    file.write_text(requirements, encoding="utf-8")
    _pip(
        "download",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
        str(file),
        "-d",
        str(directory),
    )


def fleet_wheel(directory: Path) -> Path:
    """Build the wheel of this checkout into ``directory`` and return it. Raises LabFailed."""
    directory.mkdir(exist_ok=True)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory), "--", str(ROOT))
    (built,) = directory.glob("fleet-*.whl")
    return built


def _pip(*arguments: str) -> None:
    argv = (
        sys.executable,
        "-m",
        "pip",
        arguments[0],
        "--quiet",
        "--disable-pip-version-check",
        *arguments[1:],
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    if done.returncode:
        raise LabFailed(f"`pip {arguments[0]}` failed: {done.stderr.strip()[-500:]}")
