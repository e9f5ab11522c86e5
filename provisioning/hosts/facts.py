"""What is a host like? One program, sent to it and run there once, tells all of it."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from provisioning.errors import HostUnfit
from provisioning.hosts.command import words
from provisioning.hosts.runner import Ran, Runner

#: what is looked for
PROGRAMS = ("rsync", "restic")
_PROGRAM = "facts_program.py"


class Root(StrEnum):
    """How root's rights are had on a host."""

    ITSELF = "itself"
    SUDO = "sudo"
    #: sudo wants a password, or refuses; it says which only to people
    ASKED = "asked"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a host is like."""

    #: such as ``debian``
    os_id: str
    #: such as ``12``
    os_version: str
    #: for people
    os_name: str
    #: as `uname -m` says
    architecture: str
    python: str
    #: version of systemd, or None where it does not run the host
    systemd: int | None
    #: where the fleet's state goes
    disk_free_bytes: int
    memory_bytes: int | None
    memory_available_bytes: int | None
    #: who looked
    user: str
    root: Root
    #: program → where it is, or None
    programs: Mapping[str, str | None]
    #: how far its clock is ahead of this machine's
    clock_offset_seconds: float
    #: the answer travelled, so the offset is known to within this
    clock_uncertainty_seconds: float


def gather(
    runner: Runner, *, state_dir: str, timeout_seconds: float = 60.0, clock: Callable[[], float] = time.time
) -> Facts:
    """Ask the host what it is like; nothing is changed there.

    Raises HostUnfit when it cannot be asked, and what ``runner`` raises.
    """
    program = Path(__file__).with_name(_PROGRAM).read_bytes()
    sent = clock()
    ran = runner.run(
        ("python3", "-I", "-", state_dir, *PROGRAMS), stdin=(program,), timeout_seconds=timeout_seconds
    )
    return parse(ran, host=runner.name, sent=sent, received=clock())


def parse(ran: Ran, *, host: str, sent: float, received: float) -> Facts:
    """Return the facts that ``host`` told between ``sent`` and ``received``. Raises HostUnfit."""
    if ran.exit_code:
        raise _unfit(host, words(ran.stderr) or f"exit code {ran.exit_code}")
    try:
        told = json.loads(ran.stdout)
        there = float(told.pop("time"))
        return Facts(
            **(told | {"root": Root(told["root"])}),
            clock_offset_seconds=there - (sent + received) / 2,
            clock_uncertainty_seconds=(received - sent) / 2,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unfit(host, f"{error}, not {words(ran.stdout)}") from error


def _unfit(host: str, reason: str) -> HostUnfit:
    return HostUnfit(
        f"host `{host}` cannot say what it is like: {reason}",
        hint="it needs Python: `apt install python3` there; see docs/how-to/prepare-a-host.md",
    )
