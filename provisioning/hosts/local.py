"""How does a program run on this very machine, in the words of a runner?"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from provisioning.errors import HostTimeout, HostUnfit
from provisioning.hosts.runner import Ran

SUDO = ("sudo", "-n", "--")


class LocalRunner:
    """This machine; ``environ`` is all of the environment that programs get."""

    name = "this machine"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        """Run ``argv`` and return how it ended; raises HostUnfit where it cannot be started, HostTimeout."""
        command = (*SUDO, *argv) if as_root and os.geteuid() != 0 else tuple(argv)
        try:
            done = subprocess.run(
                command,
                input=b"".join(stdin),
                capture_output=True,
                env=self._environ,
                timeout=timeout_seconds,
                check=False,
            )
        except OSError as error:
            raise HostUnfit(f"cannot run `{argv[0]}`: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise HostTimeout(f"`{argv[0]}` did not end within {timeout_seconds:g} s") from error
        return Ran(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def close(self) -> None:
        """Nothing is open."""
