"""What programs really ask of a broker, read off the wire, and the file that keeps it for tests without one.

``RECORD=1 pytest tests/integration/worker/test_recorded_rights.py`` writes the file anew.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amqp.serialization import loads

from provisioning.broker import operations as ask

FILE = Path(__file__).parent / "cases" / "rights" / "recorded.json"

_PROTOCOL_HEADER = 8
#: of a frame: type, channel, size
_HEADER = 7
_METHOD = 1
_START_OK = (10, 11)
#: method → types of its arguments (as py-amqp writes them), and the request that they make
_METHODS: dict[tuple[int, int], tuple[str, Callable[..., ask.Operation]]] = {
    (40, 10): (
        "BssbbbbbF",
        lambda _, name, kind, passive, *rest: _declared_exchange(name, passive, rest[-1]),
    ),
    (40, 20): ("Bsbb", lambda _, name, *rest: ask.DeleteExchange(exchange=name)),
    (40, 30): (
        "BsssbF",
        lambda _, to, source, key, *rest: ask.BindExchange(destination=to, source=source, key=key),
    ),
    (40, 40): (
        "BsssbF",
        lambda _, to, source, key, *rest: ask.BindExchange(destination=to, source=source, key=key),
    ),
    (50, 10): ("BsbbbbbF", lambda _, name, passive, *rest: _declared_queue(name, passive, rest[-1])),
    (50, 20): (
        "BsssbF",
        lambda _, queue, source, key, *rest: ask.BindQueue(queue=queue, exchange=source, key=key),
    ),
    (50, 30): ("Bsb", lambda _, queue, *rest: ask.Purge(queue=queue)),
    (50, 40): ("Bsbbb", lambda _, queue, *rest: ask.DeleteQueue(queue=queue)),
    (50, 50): (
        "BsssF",
        lambda _, queue, source, key, *rest: ask.BindQueue(queue=queue, exchange=source, key=key),
    ),
    (60, 20): ("BssbbbbF", lambda _, queue, *rest: ask.Consume(queue=queue)),
    (60, 40): ("Bssbb", lambda _, name, key, *rest: ask.Publish(exchange=name, key=key)),
    (60, 70): ("Bsb", lambda _, queue, *rest: ask.Consume(queue=queue)),
}
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ONE_UUID = "01234567-89ab-cdef-0123-456789abcdef"
_DELAYED = re.compile(r"^([01]\.){28}")
_ONE_SECOND = "0." * 27 + "1."


def _declared_queue(name: str, passive: bool, arguments: dict[str, Any]) -> ask.Operation:  # noqa: FBT001
    dead = arguments.get("x-dead-letter-exchange")
    return ask.DeclareQueue(queue=name, passive=passive, dead_letter_exchange=dead)


def _declared_exchange(name: str, passive: bool, arguments: dict[str, Any]) -> ask.Operation:  # noqa: FBT001
    return ask.DeclareExchange(
        exchange=name, passive=passive, alternate_exchange=arguments.get("alternate-exchange")
    )


class Recording:
    """Every request of every connection, by user; ``listener`` is told a connection's bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: defaultdict[str, set[ask.Operation]] = defaultdict(set)

    def listener(self) -> Callable[[bytes], None]:
        """Return what takes the bytes of one connection's client."""
        rest, user, skipped = b"", "", False

        def hear(data: bytes) -> None:
            nonlocal rest, user, skipped
            rest += data
            if not skipped and len(rest) >= _PROTOCOL_HEADER:
                rest, skipped = rest[_PROTOCOL_HEADER:], True
            while skipped and len(rest) >= _HEADER:
                length = _HEADER + int.from_bytes(rest[3:_HEADER]) + 1
                if len(rest) < length:
                    return
                frame, rest = rest[:length], rest[length:]
                if frame[0] == _METHOD:
                    user = self._method(user, frame[_HEADER:-1])

        return hear

    def _method(self, user: str, payload: bytes) -> str:
        """Note the request of one method frame; return as whom the connection has logged in."""
        method = (int.from_bytes(payload[:2]), int.from_bytes(payload[2:4]))
        if method == _START_OK:
            (_, _, response, _), _ = loads("FsSs", payload, 4)
            login = response.encode() if isinstance(response, str) else response
            return str(login.split(b"\0")[1].decode())
        if method in _METHODS:
            types, make = _METHODS[method]
            arguments, _ = loads(types, payload, 4)
            with self._lock:
                self._heard[user].add(make(*arguments))
        return user

    def heard(self, named: dict[str, str]) -> dict[str, set[ask.Operation]]:
        """Return what was heard, with ``named`` (seen → written) for users and ``normal`` names."""
        with self._lock:
            return {
                named[user]: {_plain(operation, named) for operation in found}
                for user, found in self._heard.items()
            }


def _plain(operation: ask.Operation, named: dict[str, str]) -> ask.Operation:
    """Return ``operation`` without what differs from run to run: ids, delays, names of users."""
    made = {name: _plain_text(value, named) for name, value in asdict(operation).items()}  # type: ignore[call-overload]  # a dataclass
    return type(operation)(**made)


def _plain_text(value: object, named: dict[str, str]) -> object:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    text = _DELAYED.sub(_ONE_SECOND, _UUID.sub(_ONE_UUID, value))
    for seen, written in named.items():
        text = text.replace(f"@{seen}", f"@{written}")
    return ask.GENERATED_QUEUE if text.startswith("amq.gen-") else text


def write(heard: dict[str, set[ask.Operation]]) -> None:
    """Write the file."""
    rows = {user: sorted(map(_row, found)) for user, found in sorted(heard.items())}
    FILE.parent.mkdir(exist_ok=True)
    lines = (
        f"  {json.dumps(user)}: [\n    " + ",\n    ".join(found) + "\n  ]" for user, found in rows.items()
    )
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _row(operation: ask.Operation) -> str:
    fields = {name: value for name, value in asdict(operation).items() if value not in (None, False, "", ())}  # type: ignore[call-overload]  # a dataclass
    return json.dumps({"ask": type(operation).__name__} | fields)


def read() -> dict[str, set[ask.Operation]]:
    """Return what the file holds."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return {user: set(map(_operation, rows)) for user, rows in document.items()}


def _operation(row: dict[str, Any]) -> ask.Operation:
    fields = dict(row)
    kind: type[Any] = getattr(ask, fields.pop("ask"))
    defaults = {"exchange": ""} if kind is ask.Publish else {"queue": ""} if kind is ask.DeclareQueue else {}
    made: ask.Operation = kind(**(defaults | fields))
    return made


def told(found: Iterable[ask.Operation]) -> list[str]:
    """Return operations as the file writes them, for messages of tests."""
    return sorted(map(_row, found))
