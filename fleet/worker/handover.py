"""How does a message that this worker will not run get back to the broker, for certain and without blocking?

A copy is published and confirmed first, then the original is acknowledged: between the two there may be both,
never none. When the copy cannot be placed after some attempts, a refused original is rejected, and the broker
dead-letters it itself; a postponed one is held and tried again later.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fleet.errors import FleetError
from fleet.publish.channel import Refusal
from fleet.publish.message import WireMessage, delayed_routing_key
from fleet.routes import DEAD_LETTER_EXCHANGE, DELAY_EXCHANGE
from fleet.worker.message import QUEUE_HEADER

log = logging.getLogger(__name__)

#: for one copy, reconnecting included
PUBLISH_SECONDS = 15.0
#: a lost connection or a broker that restarts must not decide where a message ends
ATTEMPTS = 3
PAUSE_SECONDS = 2.0
#: copies that wait; beyond it they count as not placed
WAITING = 1000
#: copied as they are; ``expiration`` would end the copy, ``user_id`` names somebody else
_PROPERTIES = frozenset(
    {
        "content_type",
        "content_encoding",
        "priority",
        "correlation_id",
        "reply_to",
        "message_id",
        "timestamp",
        "type",
        "app_id",
    }
)
_PERSISTENT = 2


class Settle(Protocol):
    """Called when it is known whether a copy was placed."""

    def __call__(self, *, placed: bool) -> None:
        """Acknowledge the original when its copy was placed, else reject it."""
        ...


class Door(Protocol):
    """What is needed of a publishing channel."""

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Publish, and return for each message None or why the broker did not take it."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What is copied of a delivered message."""

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a message was refused, and by whom."""

    reason: str
    detail: str
    host: str
    worker: str
    #: broker queue that it was consumed from
    queue: str
    #: seconds since the epoch
    time: float


def dead_letter(original: Original, refused: Refused, *, dead_letter_queue: str) -> WireMessage:
    """Return a copy of ``original`` for its dead-letter queue that says why it is there."""
    notes: dict[str, object] = {
        "fleet_refused_reason": refused.reason,
        "fleet_refused_detail": refused.detail,
        "fleet_refused_host": refused.host,
        "fleet_refused_worker": refused.worker,
        "fleet_refused_queue": refused.queue,
        "fleet_refused_time": refused.time,
        "fleet_refused_exchange": original.exchange,
        "fleet_refused_routing_key": original.routing_key,
    }
    return _copy(original, notes, exchange=DEAD_LETTER_EXCHANGE, routing_key=dead_letter_queue)


def postponed(original: Original, *, queue_name: str, delay_seconds: int) -> WireMessage:
    """Return a copy of ``original`` that the broker keeps for ``delay_seconds`` and then delivers again."""
    key = delayed_routing_key(delay_seconds, queue_name)
    return _copy(original, {}, exchange=DELAY_EXCHANGE, routing_key=key)


class Handover:
    """A thread that places copies one after the other; started with the first one."""

    def __init__(self, connect: Callable[[], Door], *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._connect = connect
        self._pause_seconds = pause_seconds
        self._waiting: queue.Queue[tuple[WireMessage, Settle]] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._door: Door | None = None

    def place(self, message: WireMessage, settle: Settle) -> None:
        """Publish ``message`` soon, then call ``settle`` in the thread with whether the broker has it.

        Never blocks: with too many waiting, ``settle`` is called with False at once.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fleet-handover", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((message, settle))
        except queue.Full:
            settle(placed=False)

    def _run(self) -> None:
        while True:
            message, settle = self._waiting.get()
            try:
                settle(placed=self._placed(message))
            except Exception:  # whatever a settling makes of it, the next message must be handed over
                log.exception("a message could not be settled", extra={"event": "settle_failed"})

    def _placed(self, message: WireMessage) -> bool:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self._pause_seconds)
            try:
                refusal = self._deliver(message)
            except FleetError as error:
                _log_failure(str(error))
                continue
            except Exception as error:  # noqa: BLE001 - what cannot be copied must not end the thread
                _log_failure(f"{type(error).__name__}: {error}")
                return False
            if refusal is not None:
                _log_failure(refusal.reason)
            return refusal is None
        return False

    def _deliver(self, message: WireMessage) -> Refusal | None:
        try:
            if self._door is None:
                self._door = self._connect()
            (refusal,) = self._door.deliver((message,), timeout_seconds=PUBLISH_SECONDS)
        except BaseException:
            # The next attempt logs in anew: the password may have been changed since.
            self._door = None
            raise
        return refusal


def _log_failure(reason: str) -> None:
    log.error("a message could not be handed over: %s", reason, extra={"event": "handover_failed"})


def _copy(original: Original, notes: dict[str, object], *, exchange: str, routing_key: str) -> WireMessage:
    headers = {
        name: value
        for name, value in original.headers.items()
        # CC would send further copies with this worker's rights; the broker's own notes would confuse it.
        if not str(name).lower().startswith("x-") and name not in {"CC", "BCC", QUEUE_HEADER}
    }
    properties = {
        name: value
        for name, value in original.properties.items()
        if name in _PROPERTIES and value is not None
    }
    return WireMessage(
        exchange=exchange,
        routing_key=routing_key,
        body=original.body,
        headers=headers | notes,
        properties={"correlation_id": ""} | properties | {"delivery_mode": _PERSISTENT},
    )
