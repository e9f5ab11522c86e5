"""May this message run here? Decided before Celery looks at it, from the fleet file's table and nothing else.

A broker's permissions say who may write to a queue. They do not say which task a message names, what it wraps
or what it makes the worker publish in turn; only the worker can. Pure: a delivery in, a verdict out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fleet.model import Queue
from fleet.publish.message import LONGEST_DELAY_SECONDS, VERSION, VERSION_HEADER
from fleet.routes import allows
from fleet.worker.delay import undelayed_key, whole_seconds
from fleet.worker.message import (
    Body,
    Delivery,
    digest,
    malformed_header,
    overriding_header,
    parse_body,
)

#: an ETA this near may be waited for in the worker: delays are whole seconds, and clocks differ
HOLD_SECONDS = 10.0
#: Celery's own tasks; the first three run any other task inside themselves
MAPPING_TASKS = frozenset({"celery.map", "celery.starmap", "celery.chunks"})
BUILT_IN_PREFIX = "celery."
CALLBACK_KEYS = frozenset({"callbacks", "errbacks", "chain", "chord"})
_IN_BODY = tuple(sorted(CALLBACK_KEYS))
_IN_HEADERS = ("group", "stamps", "stamped_headers")


class Reason(StrEnum):
    """Why a message is refused; a label of a metric, so it never carries outside text."""

    UNKNOWN_QUEUE = "unknown_queue"
    FOREIGN_KEY = "foreign_routing_key"
    PROTOCOL = "protocol"
    NEWER = "newer_version"
    MALFORMED = "malformed"
    OVERRIDING = "overriding_header"
    UNREADABLE = "unreadable_properties"
    COMPRESSED = "compressed"
    CONTENT_TYPE = "content_type"
    UNDECODABLE = "undecodable"
    NOT_ALLOWED = "not_allowed"
    BUILT_IN = "celery_built_in"
    UNKNOWN_TASK = "unknown_task"
    CALLBACKS = "callbacks"
    ETA = "eta"
    EXPIRED = "expired"


#: reasons that mean "cannot be understood" and not "may not"
NOT_UNDERSTOOD = frozenset(
    {
        Reason.PROTOCOL,
        Reason.NEWER,
        Reason.MALFORMED,
        Reason.UNREADABLE,
        Reason.COMPRESSED,
        Reason.CONTENT_TYPE,
        Reason.UNDECODABLE,
        Reason.UNKNOWN_TASK,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """The message may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The message goes to the dead-letter queue."""

    reason: Reason
    #: for an operator; may hold names from the message, never arguments
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """The message goes back to the broker, which waits in the worker's stead."""

    delay_seconds: int


Verdict = Admit | Refuse | Postpone


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The table of one worker."""

    #: broker queue name → the fleet file's queue
    queues: Mapping[str, Queue]
    #: names of the tasks that this worker has code for
    known_tasks: frozenset[str]
    #: the broker can wait for an ETA, and its routing keys mean something (not so with Redis)
    native: bool

    def judge(self, delivery: Delivery, *, now: float) -> Verdict:
        """Return whether ``delivery`` may run; ``now`` is seconds since the epoch."""
        queue = self.queues.get(delivery.queue or "")
        if queue is None:
            return Refuse(reason=Reason.UNKNOWN_QUEUE, detail="not a queue of this worker")
        refusal = self._judge_envelope(delivery) or self._judge_task(delivery, queue)
        if refusal:
            return refusal
        body = _decoded(delivery)
        if isinstance(body, Refuse):
            return body
        refusal = self._judge_wrapping(delivery, body, queue)
        return refusal or self._judge_times(delivery.headers, now)

    def _judge_envelope(self, delivery: Delivery) -> Refuse | None:
        headers = delivery.headers
        # A sender can add routing keys that permissions do not see (CC, BCC); the delivered key tells.
        if self.native and undelayed_key(delivery.routing_key) != delivery.queue:
            detail = f"sent with routing key `{digest(delivery.routing_key)}`"
            return Refuse(reason=Reason.FOREIGN_KEY, detail=detail)
        if delivery.unreadable:
            return Refuse(reason=Reason.UNREADABLE, detail="its properties cannot be read")
        if "task" not in headers:
            return Refuse(reason=Reason.PROTOCOL, detail="not a message of Celery's protocol 2")
        if delivery.compressed:
            return Refuse(reason=Reason.COMPRESSED, detail="compressed messages are not unpacked")
        if name := malformed_header(headers):
            return Refuse(reason=Reason.MALFORMED, detail=f"header `{name}` has an impossible value")
        if (version := headers.get(VERSION_HEADER)) and version > VERSION:
            return Refuse(
                reason=Reason.NEWER, detail=f"of version {version}, and this worker reads {VERSION}"
            )
        if name := overriding_header(headers):
            return Refuse(
                reason=Reason.OVERRIDING, detail=f"header `{digest(name)}` is not a sender's to set"
            )
        if headers.get("shadow") not in (None, "", headers["task"]):
            return Refuse(reason=Reason.OVERRIDING, detail="header `shadow` names another task")
        return None

    def _judge_task(self, delivery: Delivery, queue: Queue) -> Refuse | None:
        task = delivery.headers["task"]
        if task.startswith(BUILT_IN_PREFIX):
            if queue.allow_callbacks and task in MAPPING_TASKS:
                return None
            return Refuse(reason=Reason.BUILT_IN, detail=f"`{digest(task)}` is Celery's own")
        return self._judge_name(task, queue)

    def _judge_name(self, task: str, queue: Queue) -> Refuse | None:
        if not allows(queue, task):
            detail = f"queue `{queue.name}` does not allow task `{digest(task)}`"
            return Refuse(reason=Reason.NOT_ALLOWED, detail=detail)
        if task not in self.known_tasks:
            detail = f"this worker has no code for task `{digest(task)}`"
            return Refuse(reason=Reason.UNKNOWN_TASK, detail=detail)
        return None

    def _judge_wrapping(self, delivery: Delivery, body: Body, queue: Queue) -> Refuse | None:
        """Judge what would run beside or after the task itself."""
        if unknown := body.embed.keys() - CALLBACK_KEYS:
            return Refuse(reason=Reason.OVERRIDING, detail=f"body key `{digest(min(unknown))}`")
        headers = delivery.headers
        wrapped = [key for key in _IN_BODY if body.embed.get(key)]
        wrapped += [key for key in _IN_HEADERS if headers.get(key)]
        if not wrapped and headers["task"] not in MAPPING_TASKS:
            return None
        if wrapped and not queue.allow_callbacks:
            detail = f"queue `{queue.name}` allows no callbacks, and the message carries {', '.join(wrapped)}"
            return Refuse(reason=Reason.CALLBACKS, detail=detail)
        run_here = list(_run_in_place(body.embed))
        if headers["task"] in MAPPING_TASKS:
            run_here.append(body.kwargs.get("task", body.args[0] if body.args else None))
        return next((no for signature in run_here if (no := self._judge_signature(signature, queue))), None)

    def _judge_signature(self, signature: object, queue: Queue) -> Refuse | None:
        name = signature.get("task") if isinstance(signature, dict) else signature
        if not isinstance(name, str):
            return Refuse(reason=Reason.MALFORMED, detail="a signature names no task")
        return self._judge_name(name, queue)

    def _judge_times(self, headers: Mapping[str, Any], now: float) -> Verdict:
        try:
            expires, eta = _timestamp(headers.get("expires")), _timestamp(headers.get("eta"))
        except (ValueError, OverflowError):
            return Refuse(reason=Reason.MALFORMED, detail="`eta` or `expires` is no ISO 8601 time")
        if expires is not None and expires <= now:
            return Refuse(reason=Reason.EXPIRED, detail=f"expired at {digest(headers['expires'])}")
        if not self.native or eta is None or eta - now <= HOLD_SECONDS:
            return Admit()
        if eta - now > LONGEST_DELAY_SECONDS:
            return Refuse(reason=Reason.ETA, detail=f"`{digest(headers['eta'])}` is too far ahead")
        return Postpone(delay_seconds=whole_seconds(eta - now))


def _decoded(delivery: Delivery) -> Body | Refuse:
    encoding = (delivery.content_encoding or "utf-8").lower()
    if delivery.content_type != "application/json" or encoding != "utf-8":
        detail = f"content type `{digest(delivery.content_type)}`, encoding `{digest(encoding)}`"
        return Refuse(reason=Reason.CONTENT_TYPE, detail=detail)
    try:
        body = parse_body(delivery.decode())
    except Exception as error:  # noqa: BLE001 - whatever a hostile body makes a decoder raise, it is refused
        return Refuse(reason=Reason.UNDECODABLE, detail=type(error).__name__)
    return body or Refuse(reason=Reason.MALFORMED, detail="the body is not [args, kwargs, embed]")


def _run_in_place(embed: Mapping[str, Any]) -> Iterator[object]:
    """Yield the signatures that Celery may call inside this worker, past any queue: the errbacks."""
    pending: list[object] = [embed]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for key in ("errbacks", "link_error"):
                found = value.get(key)
                yield from found if isinstance(found, list) else [found] if found else []
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _timestamp(text: str | None) -> float | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
