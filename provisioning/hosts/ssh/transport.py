"""How is it noticed that the other side of a connection is gone, wherever the cable was cut?"""

import logging
import socket
import time
from typing import Any

import paramiko

#: the number of a global request (RFC 4254, 4)
_GLOBAL_REQUEST = b"\x50"
_QUESTION = "keepalive@openssh.com"


class Heard:
    """A socket, or what stands in for one, that knows when something last came from it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.at = time.monotonic()

    def recv(self, size: int) -> bytes:
        """Receive as the inner one does."""
        data: bytes = self._inner.recv(size)
        if data:
            self.at = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Line:
    """A connection's transport, watched: silence for too long, though asked, ends it.

    Paramiko's own keepalive wants no answer, so it never learns that nobody is there. TCP would, after a
    quarter of an hour; and behind a jump host there is no TCP of ours to notice anything.
    """

    def __init__(self, *, ask_seconds: float, silence_seconds: float) -> None:
        self._ask_seconds = ask_seconds
        self._silence_seconds = silence_seconds
        self._heard: Heard | None = None
        self.transport: paramiko.Transport | None = None

    def make(self, sock: Any, algorithms: tuple[str, ...]) -> paramiko.Transport:
        """Return a transport over ``sock`` that asks for host keys in the order of ``algorithms``."""
        if isinstance(sock, socket.socket):
            most = int(self._silence_seconds * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, most)
        self._heard = Heard(sock)
        self.transport = paramiko.Transport(self._heard)  # type: ignore[arg-type,unused-ignore]
        self.transport.set_log_channel(_quiet_log())
        options = self.transport.get_security_options()
        options.key_types = algorithms
        options.ciphers = _quickest_first(options.ciphers)
        return self.transport

    def watch(self) -> None:
        """Begin to ask; from now on silence ends the connection."""
        assert self.transport is not None
        self.transport.packetizer.set_keepalive(self._ask_seconds, self._ask)

    @property
    def is_silent(self) -> bool:
        """Tell whether the other side should have said something by now."""
        return self._heard is not None and time.monotonic() - self._heard.at > self._silence_seconds

    def _ask(self) -> None:
        """Ask a question that has to be answered. Runs in the transport's own thread, which an error ends."""
        if self.is_silent:
            raise paramiko.SSHException(f"nothing came for {self._silence_seconds:g} s")
        assert self.transport is not None
        question = paramiko.Message()
        question.add_byte(_GLOBAL_REQUEST)
        question.add_string(_QUESTION)
        question.add_boolean(True)  # noqa: FBT003 - Paramiko's signature: an answer is wanted
        self.transport._send_message(question)


def _quickest_first(ciphers: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``ciphers`` in the order in which a host is asked for them: first what needs no MAC besides."""
    return tuple(sorted(ciphers, key=lambda name: "-gcm" not in name))


def _quiet_log() -> str:
    """Return the name of a log that shows nothing: what Paramiko logs with a traceback, it raises, too."""
    log = logging.getLogger("provisioning.hosts.ssh.paramiko")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
        log.propagate = False
    return log.name
