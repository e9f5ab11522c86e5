"""An SMTP server that says exactly what a test wants, at exactly the moment that it wants."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

#: close the connection instead of answering
HANG_UP = "<hang up>"
#: never answer, and keep the connection
SILENCE = "<silence>"
#: pseudo-commands: before the first command, and after the end of the message
BANNER = "BANNER"
MESSAGE = "MESSAGE"

REPLIES = {
    BANNER: "220 talk.invalid ESMTP",
    "EHLO": "250-talk.invalid\r\n250-SIZE 10000000\r\n250 AUTH PLAIN LOGIN",
    "HELO": "250 talk.invalid",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    MESSAGE: "250 2.0.0 queued as 4F1A2B",
    "QUIT": "221 2.0.0 bye",
}


@dataclass(slots=True)
class Heard:
    """What clients said, over all connections."""

    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def verbs(self) -> list[str]:
        return [command.split()[0].upper() for command in self.commands]


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A running server."""

    port: int
    heard: Heard


@contextmanager
def talking(
    replies: Mapping[str, str] | None = None, *, read_only_bytes: int | None = None
) -> Iterator[Talk]:
    """Serve ``REPLIES`` with ``replies`` in their place, until the block ends.

    With ``read_only_bytes`` the connection is cut when so much of a message has come.
    """
    heard = Heard()
    ended = threading.Event()
    conversation = _Conversation({**REPLIES, **(replies or {})}, heard, ended, read_only_bytes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, conversation))
        thread.start()
        try:
            yield Talk(port=listener.getsockname()[1], heard=heard)
        finally:
            ended.set()
            # Wakes the thread up, wherever the platform leaves a closed listener's accept hanging.
            with suppress(OSError):
                socket.create_connection(listener.getsockname(), timeout=5).close()
            thread.join(timeout=10)
    assert not thread.is_alive()


@dataclass(frozen=True, slots=True)
class _Conversation:
    replies: Mapping[str, str]
    heard: Heard
    ended: threading.Event
    read_only_bytes: int | None

    def hold(self, connection: socket.socket, lines: BinaryIO) -> None:
        going = self._answer(connection, BANNER)
        while going and not self.ended.is_set():
            line = lines.readline()
            if not line:
                return
            command = line.decode("utf-8", errors="replace").strip()
            self.heard.commands.append(command)
            verb = command.split(" ")[0].upper()
            going = self._answer(connection, verb) and verb != "QUIT"
            if going and verb == "DATA" and self.replies["DATA"].startswith("354"):
                going = self._take_message(connection, lines)

    def _take_message(self, connection: socket.socket, lines: BinaryIO) -> bool:
        if self.read_only_bytes is not None:
            lines.read(self.read_only_bytes)
            return False
        content = b""
        while (line := lines.readline()) not in (b".\r\n", b""):
            content += line
        self.heard.messages.append(content)
        return self._answer(connection, MESSAGE)

    def _answer(self, connection: socket.socket, moment: str) -> bool:
        reply = self.replies.get(moment, "502 5.5.2 what")
        if reply == SILENCE:
            self.ended.wait(timeout=30)
        if reply in (SILENCE, HANG_UP):
            return False
        connection.sendall(reply.encode() + b"\r\n")
        return True


def _accept(listener: socket.socket, conversation: _Conversation) -> None:
    while not conversation.ended.is_set():
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            connection.settimeout(30)
            conversation.hold(connection, lines)
