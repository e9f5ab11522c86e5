"""How does a message become the bytes of a publish, quickly?

Most headers are the same for all messages of a task. An AMQP table is its pairs one after the other, so what
is shared is encoded once and the rest put behind it. The frames are, byte for byte, those of py-amqp.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Any

import amqp
from amqp import spec
from amqp.serialization import dumps

from fleet.publish.message import WireMessage

#: arguments of basic.publish: reserved, exchange, routing key, mandatory, immediate
_PUBLISH = "Bssbb"
#: encoded parts that are kept of each kind, at most; a fleet has fewer tasks and queues
_KEPT = 512
_octet, _short, _long, _longlong = (Struct(code).pack for code in (">B", ">H", ">I", ">Q"))
#: what stands before a header's text, and a header's float: its kind, then its size or the value itself
_text, _number = Struct(">cI").pack, Struct(">cd").pack

#: what a frame begins with: its type, channel and size
_frame = Struct(">BHI").pack
_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
#: of a frame beside its payload
_FRAME_BYTES = 8
#: what a content header begins with: class, weight and the size of the body
_content = Struct(">HHQ").pack
_BASIC = spec.Basic.Publish[0]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message that is ready to be written, as the payloads of its frames."""

    #: a mandatory basic.publish
    method: bytes
    #: size of the body, and properties
    header: bytes
    body: bytes

    def frames(self, channel: int, frame_max: int) -> bytes:
        """Return the frames of the message on that channel, none of them larger than ``frame_max``."""
        method, header, body = self.method, self.header, self.body
        parts = [_frame(_METHOD, channel, len(method)), method, _END]
        parts += (_frame(_HEADER, channel, len(header)), header, _END)
        most = frame_max - _FRAME_BYTES
        for start in range(0, len(body), most):
            part = body[start : start + most]
            parts += (_frame(_BODY, channel, len(part)), part, _END)
        return b"".join(parts)


class Encoder:
    """Encodes messages; remembers what they have in common."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], bytes] = {}
        # By identity, for a mapping has no hash; kept with its bytes, so that no other one can get its id.
        self._tables: dict[int, tuple[Mapping[str, object], bytes]] = {}

    def encode(self, message: WireMessage) -> Encoded:
        """Return ``message`` ready to be written.

        Raises struct.error and whatever else py-amqp raises for what AMQP cannot carry.
        """
        table = self._common_table(message.common) + _table(message.headers)
        properties = _properties(message.properties, _long(len(table)) + table)
        header = _content(_BASIC, 0, len(message.body)) + properties
        return Encoded(self._publish(message.exchange, message.routing_key), header, message.body)

    def _publish(self, exchange: str, routing_key: str) -> bytes:
        target = (exchange, routing_key)
        known = self._methods.get(target)
        if known is None:
            if len(self._methods) >= _KEPT:
                self._methods.clear()
            arguments: bytes = dumps(_PUBLISH, (0, exchange, routing_key, True, False))
            known = self._methods[target] = b"".join(map(_short, spec.Basic.Publish)) + arguments
        return known

    def _common_table(self, headers: Mapping[str, object]) -> bytes:
        known = self._tables.get(id(headers))
        if known is None:
            if len(self._tables) >= _KEPT:
                self._tables.clear()
            known = self._tables[id(headers)] = (headers, _table(headers))
        return known[1]


def _table(headers: Mapping[str, object]) -> bytes:
    """Return the pairs of a table, without its length."""
    return b"".join([_pair(name, value) for name, value in headers.items()])


def _pair(name: str, value: object) -> bytes:
    """Return a header: text and floats, of which each message has its own, without py-amqp's detours."""
    if type(value) is str:
        text = value.encode("utf-8", "surrogatepass")
        return _name(name) + _text(b"S", len(text)) + text
    if type(value) is float:
        return _name(name) + _number(b"d", value)
    encoded: bytes = dumps("F", ({name: value},))
    return encoded[4:]


def _short_text(value: object) -> bytes:
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return _octet(len(text)) + text


#: names of headers come again and again
_name = lru_cache(maxsize=_KEPT, typed=True)(_short_text)

_ENCODE: Mapping[str, Callable[[Any], bytes]] = MappingProxyType(
    {"s": _short_text, "o": _octet, "L": _longlong, "F": bytes}
)
#: name of a property → its flag and how it is encoded, in the order of the wire
_PROPERTIES = tuple(
    (name, 1 << (15 - position), _ENCODE[kind])
    for position, (name, kind) in enumerate(amqp.Message.PROPERTIES)
)


def _properties(properties: Mapping[str, object], headers: bytes) -> bytes:
    present = {**properties, "application_headers": headers}
    flags, parts = 0, []
    for name, flag, encode in _PROPERTIES:
        value = present.get(name)
        if value is not None:
            flags |= flag
            parts.append(encode(value))
    return _short(flags) + b"".join(parts)
