"""What do the units of this host do, and how are they made to do something else?"""

import os
import subprocess
import time
from typing import Any

from provisioning.hosts.agent.places import Refused

#: a unit whose start or stop takes longer is reported as failed; systemd goes on with it
UNIT_SECONDS = 150.0
QUICK_SECONDS = 30.0
JOURNAL_LINES = 15
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,StatusText,ActiveEnterTimestampMonotonic,InvocationID"


def unit_states(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each unit whether it exists, is enabled and runs: one question for all of them."""
    if not names:
        return {}
    blocks = _run(("systemctl", "show", f"--property={PROPERTIES}", "--", *names)).split("\n\n")
    if len(blocks) != len(names):
        raise Refused(f"systemd told of {len(blocks)} units instead of {len(names)}")
    return {name: _state(block) for name, block in zip(names, blocks, strict=True)}


class Systemd:
    """Changes units, after telling systemd of new unit files where that is due."""

    def __init__(self) -> None:
        self.is_stale = True

    def put(self, change: dict[str, Any]) -> None:
        """Bring a unit to be enabled and running as wanted; raises Refused with the end of its journal."""
        name = change["name"]
        if change["enabled"] is not None:
            # By itself it would have systemd read everything anew, which is done once, for the files as well.
            self._ask("enable" if change["enabled"] else "disable", name, "--no-reload")
            self.is_stale = True
        self.refresh()
        verb = _verb(change)
        if verb:
            self._ask(verb, name, *(() if change["waits"] or verb != "stop" else ("--no-block",)))

    def delete(self, name: str) -> None:
        """Stop a unit and take it from the start of the host."""
        self.refresh()
        self._ask("disable", name)
        self._ask("stop", name)
        # One that has failed is remembered without a file; one that has not says so, which is no matter.
        _try(("systemctl", "reset-failed", "--", name), QUICK_SECONDS)

    def refresh(self) -> None:
        """Let systemd read unit files that have changed."""
        if self.is_stale:
            _run(("systemctl", "daemon-reload"))
            self.is_stale = False

    def _ask(self, verb: str, name: str, *options: str) -> None:
        began = time.time()
        done = _try(("systemctl", "--no-ask-password", *options, verb, "--", name), UNIT_SECONDS)
        if done.returncode:
            said = "\n".join(part for part in (done.stderr.strip(), _journal(name, began)) if part)
            raise Refused(f"`systemctl {verb} {name}` ended with {done.returncode}: {said}")


def is_unit_file(path: str) -> bool:
    """Tell whether systemd reads a path only when it is told to."""
    return "/systemd/" in path


def _verb(change: dict[str, Any]) -> str | None:
    """Return what brings the unit to what is wanted; None when that is left as it is."""
    files = change["files"]
    if change["active"] is False:
        return "stop"
    if files == "reload":
        return "reload-or-restart" if change["active"] else "try-reload-or-restart"
    if files == "restart":
        return "restart" if change["active"] else "try-restart"
    return "start" if change["active"] else None


def _state(block: str) -> dict[str, Any]:
    found = dict(line.split("=", 1) for line in block.strip().splitlines() if "=" in line)
    state = found.get("ActiveState")
    return {
        "exists": found.get("LoadState") != "not-found" or state == "active",
        "enabled": found.get("UnitFileState") == "enabled",
        # One that is on its way there runs neither yet nor not: it can be started, and stopped.
        "active": None if state == "activating" else state in {"active", "reloading", "refreshing"},
        "ending": state == "deactivating",
        "status": found.get("StatusText", ""),
        "since": int(found.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
        # Another one with each start, whoever starts it; empty before the first.
        "run": found.get("InvocationID", ""),
    }


def _journal(name: str, since: float) -> str:
    shown = ("--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", f"--since=@{int(since)}")
    return _try(("journalctl", f"--unit={name}", *shown), QUICK_SECONDS).stdout.strip()


def _run(argv: tuple[str, ...]) -> str:
    done = _try(argv, QUICK_SECONDS)
    if done.returncode:
        raise Refused(f"`{' '.join(argv[:2])}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _try(argv: tuple[str, ...], seconds: float) -> "subprocess.CompletedProcess[str]":
    # The words of systemd are read, so they are asked for in one language.
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    environ |= {name: value for name, value in os.environ.items() if name == "XDG_RUNTIME_DIR"}
    try:
        return subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise Refused(f"there is no `{argv[0]}` on this host", why="unusable") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"`{' '.join(argv)}` took longer than {seconds:g} s") from None
