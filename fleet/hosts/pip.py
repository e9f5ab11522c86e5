"""How is the pip of this environment asked for something?"""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from fleet.errors import FleetError


def run_pip(verb: str, *arguments: str, timeout_seconds: float) -> "subprocess.CompletedProcess[str]":
    """Run pip and return how it ended, well or not.

    Raises FleetError when there is no pip, or it takes too long.
    """
    if importlib.util.find_spec("pip") is None:
        raise FleetError("pip is not installed beside fleet", hint="run `python3 -m ensurepip`")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
    argv: Sequence[str] = (sys.executable, "-m", "pip", verb, *quiet, *arguments)
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise FleetError(f"`pip {verb}` did not end within {timeout_seconds:.0f} s") from error
