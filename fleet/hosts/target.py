"""For which Python on which machine is a release built, and which wheels fit there?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.errors import UsageError

#: the glibc that a release asks for when a target says none: older than that of any Debian that is supported
OLDEST_GLIBC_MINOR = 17
LEAST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A CPython on Linux with glibc."""

    #: major and minor version
    python: tuple[int, int]
    #: as ``uname -m`` says it
    machine: str
    #: 36 for glibc 2.36
    glibc_minor: int = OLDEST_GLIBC_MINOR

    @property
    def name(self) -> str:
        """Return a short name, such as ``cp311-x86_64``."""
        return f"cp{self.python[0]}{self.python[1]}-{self.machine}"

    @property
    def exact(self) -> str:
        """Return a name that no other target has."""
        return f"{self.name}-glibc-2.{self.glibc_minor}"


def target_of(answer: str) -> Target:
    """Return the target that ``answer`` describes: a host's Python, machine and C library.

    Raises UsageError when fleet does not run there.
    """
    found = re.fullmatch(r"(\d+)\.(\d+) (\S+) glibc-2\.(\d+)\s*", answer)
    if found is None:
        raise UsageError(
            f"`{answer.strip()}` is no CPython with glibc", hint="install Debian's python3 there"
        )
    python = int(found[1]), int(found[2])
    if python < LEAST_PYTHON:
        raise UsageError(
            f"Python {found[1]}.{found[2]} is too old: fleet needs 3.11", hint="use Debian 12 or newer"
        )
    return Target(python=python, machine=found[3], glibc_minor=int(found[4]))


def marker_environment(target: Target) -> Mapping[str, str]:
    """Return what requirements may ask about ``target``."""
    version = ".".join(map(str, target.python))
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
    }


def pip_options(target: Target) -> tuple[str, ...]:
    """Return what makes pip choose wheels for ``target`` instead of for its own interpreter."""
    platforms = [f"manylinux_2_{minor}" for minor in range(target.glibc_minor, 4, -1)]
    platforms += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
    abi = f"cp{target.python[0]}{target.python[1]}"
    return (
        *(f"--platform={platform}_{target.machine}" for platform in platforms),
        f"--python-version={'.'.join(map(str, target.python))}",
        "--implementation=cp",
        *(f"--abi={each}" for each in (abi, "abi3", "none")),
    )
