"""Which command line does a host get for an argv, so that it is bounded there and its output stands out?

The line is read by the user's login shell; everything in it is quoted. What a shell of that user prints of
its own accord (a banner in `.bashrc`, sudo's lecture) comes before a mark that the command line prints on
both streams when it begins; what comes before the mark is not the program's.
"""

import shlex
from collections.abc import Sequence
from enum import StrEnum

#: after the time is up, how long a program may take to end by itself (s)
KILL_AFTER_SECONDS = 5.0
#: exit codes of `timeout` when it had to end the program, gently or not
TIMED_OUT_CODES = frozenset({124, 137})
#: a constant: argv comes as parameters, which no shell reads
_BEGIN = 'printf %s "$0" && printf %s "$0" >&2 && exec "$@"'


class Rights(StrEnum):
    """With whose rights, and how they are got."""

    OWN = "own"
    SUDO = "sudo"
    SUDO_PASSWORD = "sudo with a password"  # noqa: S105 - a name, no password


def command_line(
    argv: Sequence[str], *, mark: str, prompt: str, rights: Rights, timeout_seconds: float
) -> str:
    """Return the line for the user's shell that runs ``argv`` for at most ``timeout_seconds``.

    ``mark`` is printed on both streams when it begins, ``prompt`` on stderr when sudo wants a password.
    """
    bounded = ("timeout", f"--kill-after={KILL_AFTER_SECONDS:g}", f"{timeout_seconds:.3f}")
    begun = (*bounded, "sh", "-c", _BEGIN, mark, *argv)
    return shlex.join((*_sudo(rights, prompt), *begun))


def _sudo(rights: Rights, prompt: str) -> tuple[str, ...]:
    if rights is Rights.OWN:
        return ()
    if rights is Rights.SUDO:
        return ("sudo", "-n", "--")
    return ("sudo", "-S", "-p", prompt, "--")


class AfterMark:
    """What a stream says before its mark and after it, each up to a limit."""

    #: more than any banner (bytes)
    MOST_BEFORE = 64 * 1024

    def __init__(self, mark: bytes, *, most: int) -> None:
        self._mark = mark
        self._most = most
        self.before = b""
        self._after: list[bytes] = []
        self._size = 0
        self.has_begun = False

    def take(self, data: bytes) -> None:
        """Take what came."""
        if self.has_begun:
            self._keep(data)
            return
        self.before += data
        text, found, rest = self.before.partition(self._mark)
        if found:
            self.has_begun = True
            self.before = text
            self._keep(rest)
        self.before = self.before[-self.MOST_BEFORE :]

    @property
    def after(self) -> bytes:
        """Return what the program itself said."""
        return b"".join(self._after)

    @property
    def is_too_long(self) -> bool:
        """Tell whether the program said more than is kept."""
        return self._size > self._most

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if not self.is_too_long:
            self._after.append(data)


def words(said: bytes, *, most: int = 300) -> str:
    """Return the end of what a host said as one line that is safe to show on a terminal."""
    text = " ".join(said.decode("utf-8", "replace").split())
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= most else f"…{shown[-most:]}"
