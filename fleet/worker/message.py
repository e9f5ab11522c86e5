"""What does a delivered message say about itself, before anybody believes it?"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from fleet.publish.message import FIRST_HEADER, KEY_HEADER, SENT_HEADER, TRACE_HEADER, VERSION_HEADER

#: headers of Celery's message protocol 2
PROTOCOL_HEADERS = frozenset(
    {
        "argsrepr",
        "eta",
        "expires",
        "group",
        "group_index",
        "id",
        "ignore_result",
        "kwargsrepr",
        "lang",
        "meth",
        "origin",
        "parent_id",
        "replaced_task_nesting",
        "retries",
        "root_id",
        "shadow",
        "stamped_headers",
        "stamps",
        "task",
        "timelimit",
    }
)
#: names that Celery would take from a header though its protocol has none of them: each overrides what the
#: worker itself knows about a request, such as where a retry goes or whether callbacks run
OVERRIDING_HEADERS = frozenset(
    {
        "args",
        "as_execution_options",
        "callbacks",
        "called_directly",
        "chain",
        "children",
        "chord",
        "clear",
        "correlation_id",
        "delivery_info",
        "errbacks",
        "get",
        "hostname",
        "is_eager",
        "kwargs",
        "logfile",
        "loglevel",
        "properties",
        "reply_to",
        "soft_time_limit",
        "taskset",
        "time_limit",
        "update",
        "utc",
    }
)
#: broker queue that the message was consumed from; set by the worker's main process, never by a sender
QUEUE_HEADER = "fleet_queue"
_NOT_A_SENDERS = OVERRIDING_HEADERS | {QUEUE_HEADER}
#: what almost every message has, and nothing else
_FAMILIAR = PROTOCOL_HEADERS | {FIRST_HEADER, SENT_HEADER, KEY_HEADER, TRACE_HEADER, VERSION_HEADER}
#: longest short string of AMQP
LONGEST_NAME_BYTES = 255
#: number of the worker's broker connection that a message came over, beside its queue in the delivery's info
CONNECTION = "fleet_connection"


class Delivery(NamedTuple):
    """A message as the broker handed it over; everything but ``queue`` is the sender's word."""

    #: broker queue it was consumed from, known from the consumer tag; None when it is none of this worker's
    queue: str | None
    routing_key: str
    headers: Mapping[str, Any]
    content_type: str | None
    content_encoding: str | None
    #: packed by the sender; unpacking a small message can fill the memory
    compressed: bool
    #: its properties could not even be parsed
    unreadable: bool
    #: raises whatever decoding raises
    decode: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body of a protocol 2 message."""

    args: list[Any]
    kwargs: dict[str, Any]
    #: callbacks, errbacks, chain and chord
    embed: dict[str, Any]


def parse_body(payload: object) -> Body | None:
    """Return ``payload`` as a protocol 2 body, or None when it is none."""
    match payload:
        case [list() as args, dict() as kwargs, dict() as embed]:
            return Body(args=args, kwargs=kwargs, embed=embed)
        case [list() as args, dict() as kwargs, None]:
            return Body(args=args, kwargs=kwargs, embed={})
    return None


def overriding_header(headers: Mapping[str, Any]) -> str | None:
    """Return the name of a header that would override the worker's own knowledge, or None."""
    if headers.keys() <= _FAMILIAR:
        return None
    return next((name for name in headers if name in _NOT_A_SENDERS or str(name).startswith("_")), None)


def malformed_header(headers: Mapping[str, Any]) -> str | None:
    """Return the name of a protocol header whose value has no business there, or None."""
    for name, value in headers.items():
        if not isinstance(name, str):
            # py-amqp leaves a name that is no UTF-8 as bytes.
            return repr(name)
        is_fit = None if value is None else _FIT.get(name)
        if is_fit is not None and not is_fit(value):
            return name
    return next((name for name in _REQUIRED if headers.get(name) is None), None)


def is_name(value: object) -> TypeGuard[str]:
    """Tell whether ``value`` can name a message or a task: printable, and fit for a short string of AMQP."""
    if not isinstance(value, str) or not value.isprintable():
        return False
    # AMQP counts bytes. A lone surrogate is unprintable, so none comes this far.
    return 0 < len(value.encode("utf-8", "surrogatepass")) <= LONGEST_NAME_BYTES


def digest(value: object) -> str:
    """Return ``value`` as short printable text for a log line or a header."""
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    # bool is an int, and a negative or huge number of retries would mean retrying for ever.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10_000


def _is_limits(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_seconds(part) for part in value)


def _is_seconds(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


_REQUIRED = ("id", "task")
#: whether a value that is not None can be one of the header
_FIT: Mapping[str, Callable[[object], bool]] = {
    "id": is_name,
    "task": is_name,
    "retries": _is_count,
    "replaced_task_nesting": _is_count,
    "group_index": _is_count,
    "timelimit": _is_limits,
    "root_id": _is_text,
    "parent_id": _is_text,
    "group": _is_text,
    "eta": _is_text,
    "expires": _is_text,
    "origin": _is_text,
    "argsrepr": _is_text,
    "kwargsrepr": _is_text,
    "ignore_result": lambda value: isinstance(value, bool),
    VERSION_HEADER: _is_count,
    "headers": lambda value: isinstance(value, dict),
}
