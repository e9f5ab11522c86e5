"""What does a message in a dead-letter queue say: which task, why it is here, whence, since when?

Two hands put messages there. The broker moves what a worker rejected, what was delivered too often and what a
limit let go, and notes that in ``x-death``. A worker that refuses a message places a copy with headers
``fleet_refused_…`` instead. Pure: headers in, a record out; a stranger's message is one, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fleet.journal.record import FURTHEST_SECONDS
from fleet.publish.message import FIRST_HEADER, KEY_HEADER
from fleet.worker.delay import undelayed_key
from fleet.worker.message import digest, is_name

#: how often a message was replayed, by whom, and when last (epoch seconds)
REPLAYS_HEADER = "fleet_replays"
REPLAYED_BY_HEADER = "fleet_replayed_by"
REPLAYED_TIME_HEADER = "fleet_replayed_time"

#: reason of a message that says nothing about it: put there by hand
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One line of the broker's notes: a queue that the message left as a dead letter."""

    queue: str
    #: the broker's word: ``rejected``, ``delivery_limit``, ``expired`` or ``maxlen``
    reason: str
    #: how often it left that queue for that reason
    count: int
    #: when it did so first (epoch seconds)
    time: float | None
    exchange: str
    routing_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message in a dead-letter queue; what the sender or a worker wrote is their word only."""

    #: the dead-letter queue it lies in
    dead_letter_queue: str
    #: None when it names none that could be one
    task_id: str | None
    task: str | None
    #: why it is here: the broker's word, or the gate's (``not_allowed``, ``unknown_task``, …)
    reason: str
    #: more about it, where a worker's gate refused it
    detail: str | None = None
    #: broker queue that it came from; None when nothing says so
    origin: str | None
    #: the key it was sent with, without a delay; None when nothing says so
    routing_key: str | None = None
    #: when it came here (epoch seconds); None when nothing says so
    died: float | None
    #: when the work was sent first (epoch seconds)
    first_sent: float | None = None
    #: idempotency key
    key: str | None = None
    #: retries before its last attempt
    retries: int = 0
    #: how often it was replayed, and when last
    replays: int = 0
    replayed: float | None = None
    #: ISO 8601, as the sender wrote it
    expires: str | None = None
    #: host and worker whose gate refused it
    refused_host: str | None = None
    refused_worker: str | None = None
    #: the broker's notes, the newest first
    deaths: tuple[Death, ...] = ()
    body: bytes = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)

    @property
    def is_task(self) -> bool:
        """Tell whether it names a task and an id, as every message of Celery's does."""
        return self.task is not None and self.task_id is not None


def read_letter(
    *, dead_letter_queue: str, headers: Mapping[str, Any], properties: Mapping[str, Any], body: bytes
) -> Letter:
    """Return what the message says; whatever stands in its headers, this does not fail."""
    deaths = _deaths(headers.get("x-death"))
    # A worker's copy carries no notes of the broker: where both are there, a sender wrote the worker's.
    note = _broken_off(deaths[0]) if deaths else _refused(headers)
    return Letter(
        dead_letter_queue=dead_letter_queue,
        task_id=_name(headers.get("id")),
        task=_name(headers.get("task")),
        first_sent=_seconds(headers.get(FIRST_HEADER)),
        key=_name(headers.get(KEY_HEADER)),
        retries=_count(headers.get("retries")),
        replays=_count(headers.get(REPLAYS_HEADER)),
        replayed=_seconds(headers.get(REPLAYED_TIME_HEADER)),
        expires=_name(headers.get("expires")),
        deaths=deaths,
        body=body,
        headers=headers,
        properties=properties,
        **note,
    )


def _broken_off(death: Death) -> dict[str, Any]:
    key = undelayed_key(death.routing_keys[0]) if death.routing_keys else None
    return {"reason": death.reason, "origin": death.queue, "routing_key": key, "died": death.time}


def _refused(headers: Mapping[str, Any]) -> dict[str, Any]:
    key = _name(headers.get("fleet_refused_routing_key"))
    detail = headers.get("fleet_refused_detail")
    return {
        "reason": _name(headers.get("fleet_refused_reason")) or UNKNOWN,
        "detail": digest(detail) if isinstance(detail, str) else None,
        "origin": _name(headers.get("fleet_refused_queue")),
        "routing_key": None if key is None else undelayed_key(key),
        "died": _seconds(headers.get("fleet_refused_time")),
        "refused_host": _name(headers.get("fleet_refused_host")),
        "refused_worker": _name(headers.get("fleet_refused_worker")),
    }


def _deaths(notes: object) -> tuple[Death, ...]:
    rows = notes if isinstance(notes, list) else []
    found = (_death(row) for row in rows if isinstance(row, Mapping))
    return tuple(death for death in found if death is not None)


def _death(row: Mapping[str, Any]) -> Death | None:
    queue, reason, keys = row.get("queue"), row.get("reason"), row.get("routing-keys")
    if not (is_name(queue) and is_name(reason)):
        return None
    moment = row.get("time")
    return Death(
        queue=queue,
        reason=reason,
        count=_count(row.get("count")),
        # py-amqp reads a time as a naive one, in UTC.
        time=_seconds(moment.replace(tzinfo=UTC).timestamp()) if isinstance(moment, datetime) else None,
        exchange=str(row.get("exchange", "")),
        routing_keys=tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else (),
    )


def _name(value: object) -> str | None:
    return value if is_name(value) else None


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000
    return value if is_count and isinstance(value, int) else 0


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # What is no number is in no range, either.
    return float(value) if 0 <= value <= FURTHEST_SECONDS else None
