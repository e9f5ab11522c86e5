"""How does a worker read what the broker sends: no message ends it, and none costs more than it must?

py-amqp parses properties before anybody can look at the message, and an error there ends the worker, then the
next one that gets the message, up to the delivery limit. Here such a message arrives without its properties,
marked, and the gate refuses it.

It also reads a message in nine pieces, and kombu turns its event loop for each message. Here what has come is
read at once and handed on before the loop turns.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import Any

from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame
from amqp.method_framing import frame_handler
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import pyamqp

from fleet.worker.acks import GatheringChannel

#: ``type`` of a message whose properties could not be read
UNREADABLE = "fleet.unreadable"

#: what a frame begins with (its type, channel and size) and the octet that it ends in
_FRAME_START, _FRAME_END = Struct(">BHI"), 0xCE
#: taken from the socket at a time
_READ_BYTES = 64 * 1024
_HEADER_FRAME = 2
#: class, weight and body size, which come before the properties
_HEADER_START = 12
#: property flags that announce ``type`` alone, and its value as a short string
_UNREADABLE_PROPERTIES = b"\x00\x20" + bytes([len(UNREADABLE)]) + UNREADABLE.encode()

Frame = tuple[int, int, bytes]


def forgiving_frames(connection: Any, callback: Callable[..., object]) -> Callable[[Frame], bool]:
    """Return py-amqp's handler of frames, made to survive properties that cannot be read."""
    handle: Callable[[Frame], bool] = frame_handler(connection, callback)

    def on_frame(frame: Frame) -> bool:
        kind, channel, buffer = frame
        if kind != _HEADER_FRAME:
            return handle(frame)
        try:
            return handle(frame)
        except Exception:  # noqa: BLE001 - a stranger's bytes can make the parser raise anything
            return handle((kind, channel, bytes(buffer[:_HEADER_START]) + _UNREADABLE_PROPERTIES))

    return on_frame


class ReadAhead:
    """What a transport of py-amqp needs to take in all that has come, not only what a frame needs next."""

    sock: Any
    connected: bool
    having_timeout: Callable[[float], Any]
    _quick_recv: Callable[..., bytes]
    _read_buffer: bytes

    def next_frame(self) -> Frame | None:
        """Return the next frame when all of it has been taken in. Raises UnexpectedFrame when it is none."""
        buffer = self._read_buffer
        if len(buffer) < _FRAME_START.size:
            return None
        kind, channel, size = _FRAME_START.unpack_from(buffer)
        end = _FRAME_START.size + size
        if len(buffer) <= end:
            return None
        if buffer[end] != _FRAME_END:
            raise UnexpectedFrame(f"a frame ends in {buffer[end]:#04x}")
        self._read_buffer = buffer[end + 1 :]
        return kind, channel, buffer[_FRAME_START.size : end]

    def take_in(self) -> None:
        """Take in what has come. Raises TimeoutError when nothing has, OSError when the connection went."""
        with self.having_timeout(0):
            taken = self._receive()
        self._read_buffer += taken
        # TLS may have unpacked more than was asked for, which nobody will be woken for.
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            self._read_buffer += self._receive()

    def _receive(self, *flags: int) -> bytes:
        try:
            taken = self._quick_recv(_READ_BYTES, *flags)
        except (BlockingIOError, ssl.SSLWantReadError):
            raise
        except OSError:
            self.connected = False
            raise
        if not taken:
            self.connected = False
            raise OSError("the broker closed the connection")
        return taken


class _TCPTransport(ReadAhead, TCPTransport):  # type: ignore[misc]  # py-amqp ships no types
    def take_in(self) -> None:
        # The flag saves two system calls: to make the socket non-blocking, and blocking again.
        try:
            self._read_buffer += self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError as nothing:
            raise TimeoutError from nothing


class _SSLTransport(ReadAhead, SSLTransport):  # type: ignore[misc]  # py-amqp ships no types
    pass


class ForgivingConnection(pyamqp.Connection):  # type: ignore[misc]  # kombu ships no types
    """An AMQP connection that no message can end."""

    Channel = GatheringChannel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.frame_handler_cls = forgiving_frames

    def Transport(  # noqa: N802 - py-amqp's name and signature
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,  # noqa: FBT002
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Return what reads and writes."""
        bounds = {"read_timeout": read_timeout, "write_timeout": write_timeout}
        chosen = _SSLTransport if ssl else _TCPTransport
        return chosen(host, connect_timeout=connect_timeout, ssl=ssl, **bounds, **options)

    def handle_input(self) -> None:
        """Handle what has come, and wait for nothing. Raises OSError when the connection is gone."""
        with suppress(TimeoutError):
            self.transport.take_in()
        while self.connected and (frame := self.transport.next_frame()):
            self.on_inbound_frame(frame)

    def close(self, *args: Any, **options: Any) -> Any:
        """Tell what the channels have kept, and close the connection."""
        try:
            for channel in tuple((self.channels or {}).values()):
                if isinstance(channel, GatheringChannel) and self.connected:
                    channel.tell()
        finally:
            closed = super().close(*args, **options)
        return closed


class Reading:
    """What a transport of kombu needs to hand on all that has come before the event loop turns again."""

    def on_readable(self, connection: ForgivingConnection, loop: Any) -> None:
        """Called by the event loop when there is something to read."""
        del loop
        if not connection.connected:
            raise RecoverableConnectionError("the connection was closed")
        connection.handle_input()


class ForgivingTransport(Reading, pyamqp.Transport):  # type: ignore[misc]  # kombu ships no types
    """kombu's AMQP transport on such connections."""

    Connection = ForgivingConnection


class ForgivingSSLTransport(Reading, pyamqp.SSLTransport):  # type: ignore[misc]  # kombu ships no types
    """kombu's AMQP transport over TLS on such connections."""

    Connection = ForgivingConnection
