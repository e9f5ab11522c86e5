"""Runs on a host, by its own Python, from stdin: what is there? Prints one JSON object.

Standard library of Python 3.7 only; nothing of fleet is there. The first argument is the directory whose free
space counts, the others are programs to look for.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path


def os_release() -> list[str]:
    """Return ID, VERSION_ID and PRETTY_NAME of the system."""
    found: dict[str, str] = {}
    try:
        with Path("/etc/os-release").open(encoding="utf-8") as file:
            for line in file:
                name, _, value = line.strip().partition("=")
                found[name] = value.strip("\"'")
    except OSError:
        pass
    return [found.get(name, "") for name in ("ID", "VERSION_ID", "PRETTY_NAME")]


def memory() -> tuple[int | None, int | None]:
    """Return total and available memory in bytes."""
    found: dict[str, int] = {}
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                found[name] = int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return found.get("MemTotal"), found.get("MemAvailable")


def answer_of(argv: list[str]) -> tuple[int, str]:
    """Return exit code and output of a program; (127, "") where there is none."""
    try:
        ran = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return 127, ""
    return ran.returncode, ran.stdout.decode("utf-8", "replace")


def systemd_version() -> int | None:
    """Return the number of systemd's version, or None where it does not run."""
    if not Path("/run/systemd/system").is_dir():
        return None
    words = answer_of(["systemctl", "--version"])[1].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def root() -> str:
    """Say how root's rights are had: itself, sudo, asked (sudo wants a password or refuses), or none."""
    if os.geteuid() == 0:
        return "itself"
    if shutil.which("sudo") is None:
        return "none"
    return "sudo" if answer_of(["sudo", "-n", "true"])[0] == 0 else "asked"


def free_bytes(path: str) -> int:
    """Return the free space for ``path``, which need not be there yet."""
    place = Path(path)
    while not place.is_dir():
        place = place.parent
    return shutil.disk_usage(str(place)).free


def main() -> None:
    """Print the facts."""
    now = time.time()
    os_id, os_version, os_name = os_release()
    memory_total, memory_available = memory()
    facts = {
        "time": now,
        "os_id": os_id,
        "os_version": os_version,
        "os_name": os_name,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "systemd": systemd_version(),
        "disk_free_bytes": free_bytes(sys.argv[1]),
        "memory_bytes": memory_total,
        "memory_available_bytes": memory_available,
        "user": os.environ.get("USER", str(os.geteuid())),
        "root": root(),
        "programs": {name: shutil.which(name) for name in sys.argv[2:]},
    }
    json.dump(facts, sys.stdout)


main()
