"""How does a worker survive a message whose properties cannot be read?

py-amqp parses properties before anybody can look at the message, and an error there ends the worker, then the
next one that gets the message, up to the delivery limit. Here such a message arrives without its properties,
marked, and the gate refuses it.
"""

from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler
from kombu.transport import pyamqp

#: ``type`` of a message whose properties could not be read
UNREADABLE = "fleet.unreadable"

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


class ForgivingConnection(pyamqp.Connection):  # type: ignore[misc]  # kombu ships no types
    """An AMQP connection that no message can end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.frame_handler_cls = forgiving_frames


class ForgivingTransport(pyamqp.Transport):  # type: ignore[misc]  # kombu ships no types
    """kombu's AMQP transport on such connections."""

    Connection = ForgivingConnection


class ForgivingSSLTransport(pyamqp.SSLTransport):  # type: ignore[misc]  # kombu ships no types
    """kombu's AMQP transport over TLS on such connections."""

    Connection = ForgivingConnection
