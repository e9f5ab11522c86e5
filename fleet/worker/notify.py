"""What does a unit of ``Type=notify`` tell its service manager? Datagrams to the socket that it was given.

The protocol is that of ``sd_notify(3)``. A process that no service manager started tells nobody anything.
"""

import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Protocol

#: a service manager that is busy may hold a datagram up; nobody waits longer for it
SEND_SECONDS = 1.0
#: between two texts of ``STATUS=``, unless the service manager is told something else, too
STATUS_SECONDS = 2.0
#: a stop is put off by this much at a time, while tasks still run
EXTEND_SECONDS = 30.0
#: and this often, so that a look that comes late changes nothing
EXTEND_EVERY_SECONDS = 5.0

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"

log = logging.getLogger(__name__)


class Send(Protocol):
    """Delivers one datagram."""

    def __call__(self, message: bytes) -> None:
        """Send ``message``."""


class Notifier:
    """Tells the service manager how this process fares. Used by one thread."""

    def __init__(self, send: Send | None, *, watchdog_seconds: float = 0.0) -> None:
        self._send = send
        #: the service manager restarts a process that gives no sign of life for so long; 0: it does not
        self.watchdog_seconds = watchdog_seconds
        self._is_ready = self._is_stopping = False
        self._status = ""
        self._status_at = self._alive_at = self._extended_at = float("-inf")

    @property
    def is_heard(self) -> bool:
        """Tell whether there is somebody to tell."""
        return self._send is not None

    @property
    def is_ready(self) -> bool:
        """Tell whether ``ready`` was told."""
        return self._is_ready

    @property
    def pause_seconds(self) -> float | None:
        """Return how long to wait at most between two calls of ``alive``; None where nobody asks."""
        return self.watchdog_seconds / 2 if self.watchdog_seconds and self.is_heard else None

    def ready(self, status: str, *, now: float) -> None:
        """Say that the process does its work from now on; only the first call is told."""
        if not self._is_ready:
            self._is_ready = True
            self._status, self._status_at = status, now
            self._tell("READY=1", f"STATUS={status}")

    def status(self, text: str, *, now: float) -> None:
        """Say in one line what the process does, when that has changed; not at every moment."""
        if text != self._status and now - self._status_at >= STATUS_SECONDS:
            self._status, self._status_at = text, now
            self._tell(f"STATUS={text}")

    def is_due(self, *, now: float) -> bool:
        """Tell whether a sign of life is to be given again."""
        pause = self.pause_seconds
        # A third early: who looks now and then must not come a moment too late.
        return pause is not None and now - self._alive_at >= pause * 2 / 3

    def alive(self, *, now: float) -> None:
        """Give a sign of life, where one is due."""
        if self.is_due(now=now):
            self._alive_at = now
            self._tell("WATCHDOG=1")

    def stopping(self, status: str, *, now: float) -> None:
        """Say that the process has begun to end, and what it does until then; only the first call is told.

        This starts the clock of ``TimeoutStopSec=`` even if the process ends by itself (systemd#39535), so
        a first extension goes with it.
        """
        if not self._is_stopping:
            self._is_stopping, self._extended_at = True, now
            self._status, self._status_at = status, now
            self._tell("STOPPING=1", f"STATUS={status}", _extension())

    def extend(self, *, now: float) -> None:
        """Ask for more time to end in, from time to time."""
        if now - self._extended_at >= EXTEND_EVERY_SECONDS:
            self._extended_at = now
            self._tell(_extension())

    def _tell(self, *lines: str) -> None:
        if self._send is None:
            return
        try:
            self._send("\n".join(lines).encode())
        except OSError as error:
            log.warning(
                "the service manager was not told `%s`: %s",
                lines[0],
                error.strerror or error,
                extra={"event": "notify_failed"},
            )


def take_notifier(environ: MutableMapping[str, str], *, pid: int) -> Notifier:
    """Return the notifier for process ``pid``, and remove from ``environ`` what its children must not see."""
    address = environ.pop(_SOCKET, "")
    usec, watched = environ.pop(_WATCHDOG, ""), environ.pop(_WATCHDOG_PID, "")
    is_watched = usec.isdecimal() and watched in ("", str(pid))
    return Notifier(sender(address), watchdog_seconds=int(usec) / 1e6 if is_watched else 0.0)


def sender(address: str) -> Send | None:
    """Return what sends to ``address``: a path, or ``@NAME`` for a socket without one; None for others."""
    if address[:1] not in ("/", "@") or len(address) < 2:
        return None
    target = "\0" + address[1:] if address.startswith("@") else address

    def send(message: bytes) -> None:
        # A socket for each message: none that a forked child would share or that outlives its other end.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.settimeout(SEND_SECONDS)
            one.sendto(message, target)

    return send


def of_this_process() -> Notifier:
    """Return this process's notifier; its children will not see that there is one."""
    return take_notifier(os.environ, pid=os.getpid())


def _extension() -> str:
    return f"EXTEND_TIMEOUT_USEC={int(EXTEND_SECONDS * 1e6)}"
