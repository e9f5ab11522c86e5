"""How is ``rabbitmqctl`` called, on this machine or on a broker's host?"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioning import errors
from provisioning.hosts.local import LocalRunner
from provisioning.hosts.runner import Runner

#: so that Erlang prints names as they are
LOCALE = "C.UTF-8"
#: beyond rabbitmqctl's own limit, for its start and for the way there (s)
MARGIN_SECONDS = 10
#: makes the input one that can be opened by name, as rabbitmqctl 4 does, by the broker's user too: what sshd
#: hands on may be a socket, and a pipe is root's. Only who may trace the program reaches its descriptors.
OPEN_STDIN = ("sh", "-c", 'cat | { chmod a+r /dev/stdin && exec "$@"; }', "sh")
_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\x\{([0-9A-Fa-f]{1,5}|10[0-9A-Fa-f]{4})\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a call ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """What it said last, on one line."""
        return " ".join((self.stderr or self.stdout).split()) or "no reason given"


class Rabbitmqctl:
    """``argv`` starts it, on this machine with ``environ``, or as root on the host of ``runner``."""

    def __init__(
        self,
        argv: Sequence[str] = ("rabbitmqctl",),
        *,
        environ: Mapping[str, str] | None = None,
        runner: Runner | None = None,
        timeout_seconds: int = 60,
    ) -> None:
        inherited = os.environ if environ is None else environ
        self._is_far = runner is not None
        self._runner: Runner = runner or LocalRunner({**inherited, "LC_ALL": LOCALE})
        self._argv = (*argv, "--silent", "--timeout", str(timeout_seconds))
        self._timeout = timeout_seconds + MARGIN_SECONDS

    def __repr__(self) -> str:
        where = f" on {self._runner.name}" if self._is_far else ""
        return f"{' '.join(self._argv)}{where}"

    def call(self, *arguments: str, stdin: str = "") -> Said:
        """Run it and return how it ended; raises Unreachable where it cannot be run, or does not answer."""
        argv = (*self._argv, *arguments)
        if self._is_far:
            argv = (*(OPEN_STDIN if stdin else ()), "env", f"LC_ALL={LOCALE}", *argv)
        try:
            ran = self._runner.run(
                argv, stdin=(stdin.encode(),), as_root=self._is_far, timeout_seconds=self._timeout
            )
        except errors.HostTimeout as error:
            raise errors.Unreachable(
                f"`{self!r}` did not answer within {self._timeout} s", hint="see the broker's log"
            ) from error
        except (errors.HostUnreachable, errors.HostUnfit) as error:
            raise errors.Unreachable(
                f"cannot run `{self!r}`: {error.message}",
                hint=error.hint or "set `broker.rabbitmqctl` to its path",
            ) from error
        return Said(exit_code=ran.exit_code, stdout=printed(ran.stdout), stderr=printed(ran.stderr))


def printed(raw: bytes) -> str:
    r"""Return what rabbitmqctl printed: UTF-8, or what Erlang makes of it where the locale has no UTF-8.

    That is Latin-1, with everything else as `\x{2192}`, which JSON has no such escape for.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return _ESCAPED.sub(lambda found: found[1] + chr(int(found[2], 16)), text)
