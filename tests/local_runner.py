"""This machine in the place of a host: the agent runs here, on a directory that takes the place of ``/``."""

import grp
import io
import os
import pwd
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from provisioning.hosts.agent import program
from provisioning.hosts.runner import Ran

#: where waiting for the disk costs nothing, if there is such a place
QUICK_DISK = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name


class LocalProcess:
    """Runs the agent as a process of its own, as a host would."""

    name = "here"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        assert not as_root, "a test's directory needs no root"
        interpreter = sys.executable if argv[0] == "python3" else argv[0]
        done = subprocess.run(
            (interpreter, *argv[1:]),
            input=b"".join(stdin),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
        return Ran(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def close(self) -> None:
        """Nothing is open."""


class InThisProcess(LocalProcess):
    """Runs the same agent without a process, where hundreds of runs are wanted."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        assert not as_root, "a test's directory needs no root"
        sent, said = io.BytesIO(b"".join(stdin)), io.BytesIO()
        skip_program(sent)
        umask = os.umask(0o022)
        try:
            program.main(sent, said)
        finally:
            os.umask(umask)
        return Ran(exit_code=0, stdout=said.getvalue(), stderr=b"")


def skip_program(stream: IO[bytes]) -> None:
    """Read past the agent itself in what is sent to it."""
    _, *sizes = stream.readline().split()
    stream.read(sum(map(int, sizes)))


def listing(root: Path) -> dict[str, str]:
    """Return what stands below a directory, but for what the agent keeps for itself."""
    kept = {"var", "run"}
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.split("/", 1)[0] in kept:
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = f"{path.stat().st_mode & 0o7777:04o}"
        else:
            found[name] = f"{path.stat().st_mode & 0o7777:04o} {path.read_bytes()!r}"
    return found
