"""What does a task message look like on the wire?

Celery's task protocol, version 2, built without importing Celery. Pure: the message and the moment in, bytes
and properties out. Arguments stand in the body only, never in a header that a log line would show.
"""

import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

from fleet.errors import UsageError
from fleet.routes import DELAY_EXCHANGE, DELAY_LEVELS, TASK_EXCHANGE, BrokerQueue

#: version of what fleet itself puts into a message; a worker runs what is its own or older
VERSION_HEADER = "fleet_version"
VERSION = 1
#: float seconds since the epoch of this message's own publish
SENT_HEADER = "fleet_sent"
#: float seconds since the epoch of the first publish, kept over retries
FIRST_HEADER = "fleet_first"
#: idempotency key, kept over retries
KEY_HEADER = "fleet_key"
#: W3C trace context, kept over retries
TRACE_HEADER = "traceparent"

#: longest delay that the broker's 28 delay levels can hold (about 8.5 years)
LONGEST_DELAY_SECONDS = 2**DELAY_LEVELS - 1

#: where ids that are made from a key come from; changing it would make every key a new one
_KEY_NAMESPACE = uuid.UUID("5b0f2c51-3c1e-5d0b-9d5e-6f1f0d6c2f7a")
#: headers or arguments of a message that has none
NOTHING: Mapping[str, object] = MappingProxyType({})
_PERSISTENT = 2
# One encoder for all: with options, json.dumps would make one for each message.
_to_json = json.JSONEncoder(allow_nan=False).encode
#: how each body ends: what Celery would run after the task
_NOTHING_EMBEDDED = f", {_to_json({'callbacks': None, 'errbacks': None, 'chain': None, 'chord': None})}]"
#: stands for arguments in headers
_HIDDEN = "…"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMessage:
    """One task on its way to a queue."""

    #: name of the task
    task: str
    queue: BrokerQueue
    task_id: str
    #: JSON-like positional arguments
    args: tuple[object, ...] = field(default=(), repr=False)
    #: JSON-like keyword arguments
    kwargs: Mapping[str, object] = field(default_factory=lambda: NOTHING, repr=False)
    #: the broker holds the message for this long
    delay_seconds: float = 0
    #: idempotency key: the same key means the same piece of work
    key: str | None = None
    #: when the work was first sent (epoch seconds); None means now
    first_sent: float | None = None
    #: W3C trace context of the sender; None makes one of the task id
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WireMessage:
    """A message as the broker gets it."""

    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    headers: Mapping[str, object] = field(repr=False)
    #: AMQP basic properties by name
    properties: Mapping[str, object] = field(repr=False)
    #: further headers, in one mapping that many messages share
    common: Mapping[str, object] = field(default_factory=lambda: NOTHING, repr=False)
    #: a queue that must exist: at the end of a delay the broker cannot tell that a key leads nowhere
    required_queue: str | None = None

    @property
    def message_id(self) -> str:
        """Return what the broker's answers are matched by."""
        return str(self.properties["correlation_id"])


def new_task_id() -> str:
    """Return an id that no other task has."""
    return str(uuid.uuid4())


def task_id_for_key(fleet_name: str, task: str, key: str) -> str:
    """Return the id of ``task`` under idempotency key ``key``: the same in every process, always."""
    return str(uuid.uuid5(_KEY_NAMESPACE, f"{fleet_name}\0{task}\0{key}"))


def for_rabbitmq(message: TaskMessage, *, now: float, origin: str) -> WireMessage:
    """Return ``message`` for the task exchange, or for the broker's own delay in front of it.

    Raises UsageError when the arguments are no JSON or the delay is out of range.
    """
    delay = whole_delay_seconds(message.delay_seconds)
    key = message.queue.name
    return WireMessage(
        exchange=DELAY_EXCHANGE if delay else TASK_EXCHANGE,
        routing_key=delayed_routing_key(delay, key) if delay else key,
        body=_body(message),
        headers=_headers(message, now=now),
        common=_common_headers(message.task, origin),
        properties=_properties(message, now=now),
        required_queue=key if delay else None,
    )


def for_redis(message: TaskMessage, *, now: float, origin: str) -> WireMessage:
    """Return ``message`` for the queue's own list; the worker that gets it holds it until its ETA.

    Raises UsageError when the arguments are no JSON or the delay is out of range.
    """
    delay = whole_delay_seconds(message.delay_seconds)
    eta = datetime.fromtimestamp(now + delay, UTC).isoformat() if delay else None
    return WireMessage(
        exchange="",
        routing_key=message.queue.name,
        body=_body(message),
        headers=_headers(message, now=now) | {"eta": eta},
        common=_common_headers(message.task, origin),
        properties=_properties(message, now=now),
    )


def is_traceparent(text: str) -> bool:
    """Tell whether ``text`` is a W3C trace context, of any version."""
    return _TRACEPARENT.fullmatch(text) is not None and not text.startswith("ff")


def traceparent_of(task_id: str) -> str:
    """Return the trace context of a task whose sender has none: always the same for the same id.

    Its flags leave it to whoever records traces whether this one is.
    """
    number = task_id.replace("-", "")
    made = f"00-{number}-{number[16:]}-00"
    return made if is_traceparent(made) else traceparent_of(str(uuid.uuid5(_KEY_NAMESPACE, task_id)))


def child_traceparent(parent: str, task_id: str) -> str:
    """Return the trace context of a task that another one has sent: in its trace, with a span of its own."""
    version, trace, _, flags = parent.split("-")
    span = traceparent_of(task_id).split("-")[2]
    return f"{version}-{trace}-{span}-{flags}"


def whole_delay_seconds(seconds: float) -> int:
    """Return the delay in whole seconds, rounded up: what travels through the broker has no fractions.

    Raises UsageError when it is negative, no number, or longer than the broker's delay levels hold.
    """
    if not 0 <= seconds <= LONGEST_DELAY_SECONDS:
        raise UsageError(
            f"a delay of {seconds} seconds is not possible",
            hint=f"delays are 0 to {LONGEST_DELAY_SECONDS} seconds",
        )
    return math.ceil(seconds)


def delayed_routing_key(delay_seconds: int, routing_key: str) -> str:
    """Return the key that sends a message through the broker's delay levels, one binary digit for each."""
    return ".".join(f"{delay_seconds:0{DELAY_LEVELS}b}") + f".{routing_key}"


def _body(message: TaskMessage) -> bytes:
    try:
        text = _to_json((message.args, dict(message.kwargs)))[:-1] + _NOTHING_EMBEDDED
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the arguments of task `{message.task}` are no JSON: {error}",
            hint="pass text, numbers, booleans, null, lists and objects only",
        ) from error
    return text.encode()


def _headers(message: TaskMessage, *, now: float) -> dict[str, object]:
    headers: dict[str, object] = {
        "id": message.task_id,
        "root_id": message.task_id,
        TRACE_HEADER: message.traceparent or traceparent_of(message.task_id),
        SENT_HEADER: now,
        FIRST_HEADER: now if message.first_sent is None else message.first_sent,
    }
    if message.key is not None:
        headers[KEY_HEADER] = message.key
    return headers


@lru_cache(maxsize=256)
def _common_headers(task: str, origin: str) -> Mapping[str, object]:
    return MappingProxyType(
        {
            "lang": "py",
            "task": task,
            "shadow": None,
            # No ETA: the broker holds a delayed message, so no worker has to.
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "parent_id": None,
            "argsrepr": _HIDDEN,
            "kwargsrepr": _HIDDEN,
            "origin": origin,
            # None: the worker decides, as for a message of Celery's own.
            "ignore_result": None,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
            VERSION_HEADER: VERSION,
        }
    )


def _properties(message: TaskMessage, *, now: float) -> dict[str, object]:
    return {
        "correlation_id": message.task_id,
        "reply_to": "",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": _PERSISTENT,
        "priority": 0,
        "timestamp": int(now),
    }
