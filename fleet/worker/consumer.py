"""How does a worker consume? As Celery does, behind the gate, and without declaring anything.

Provisioning has declared queues and delays; a worker has no right to. So Celery's step that declares its
delayed delivery is left out, and what Celery would drop or acknowledge unread is dead-lettered instead.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import state
from celery.worker.consumer import Consumer

from fleet.model import Pool
from fleet.worker.acks import GatheringChannel
from fleet.worker.broker import has_control_queue_to_itself, version_of, warnings
from fleet.worker.connection import COMPRESSION
from fleet.worker.drain import awaits_adoption, cancel_consumers, give_back
from fleet.worker.gate import NOT_UNDERSTOOD, Admit, Gate, Postpone, Reason, Refuse, Verdict
from fleet.worker.handover import Original, Refused, dead_letter, postponed
from fleet.worker.message import CONNECTION, QUEUE_HEADER, Delivery
from fleet.worker.steps import FleetBlueprint
from fleet.worker.stop import Stage
from fleet.worker.timers import forget_cancelled
from fleet.worker.unread import take_in
from fleet.worker.wire import UNREADABLE

log = logging.getLogger(__name__)

#: seconds after which a message that could not be postponed is handed over again
AGAIN_SECONDS = 30.0
#: seconds between notes that the event loop turns
TICK_SECONDS = 1.0


class FleetConsumer(Consumer):  # type: ignore[misc]  # celery ships no types
    """Celery's consumer with a gate in front of it."""

    Blueprint = FleetBlueprint

    #: seconds since the epoch when the event loop last turned
    loop_tick: float | None = None
    #: it has been told to stop: nothing comes any more, and what has not started was given back
    drained = False
    #: messages that are neither run nor settled yet, by connection and tag: a copy is to be placed first
    _held: frozenset[tuple[object, object]] = frozenset()

    @property
    def holds_back(self) -> bool:
        """Tell whether messages wait for the broker to take a copy of them."""
        return bool(self._held)

    def connect(self) -> Any:
        """Return a connection to the broker; waiting for it is no hanging of the event loop."""
        connection = super().connect()
        self.loop_tick = time.time()
        self.drained, self._held = False, frozenset()
        if not self.app.fleet_context.is_redis:
            self._heed_version(version_of(connection.connection.server_properties))
        return connection

    def _heed_version(self, version: tuple[int, ...]) -> None:
        self.app.control.mailbox.queue_exclusive = has_control_queue_to_itself(version)
        fields = {"version": ".".join(map(str, version)) or "unknown"}
        log.info("connected", extra={"event": "broker_connected", "fields": fields})
        for warning in warnings(version, self.app.fleet_context.declared_queues):
            log.warning("%s", warning, extra={"event": "delivery_limit_too_low"})

    def register_with_event_loop(self, hub: Any) -> None:
        """Note every second that the event loop turns; Celery calls this for each connection."""
        super().register_with_event_loop(hub)
        if isinstance(self.task_consumer.channel, GatheringChannel):
            self.task_consumer.channel.gather()
            hub.on_tick.add(self._tell_what_ended)
        hub.timer.call_repeatedly(TICK_SECONDS, self._tick)
        self.loop_tick = time.time()

    def _tell_what_ended(self) -> None:
        if self.task_consumer is not None:
            self.task_consumer.channel.tell()

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let what has ended be over before Celery stops what runs."""
        take_in(self.pool)
        super().on_connection_error_after_connected(exc)

    def call_soon_ack(self, p: Callable[..., object], *args: Any, **options: Any) -> Any:
        """Settle a message: at once where runs end on the event loop, as in a prefork pool."""
        if self.app.fleet_context.worker.pool is not Pool.PREFORK:
            return super().call_soon_ack(p, *args, **options)
        p(*args, **options)
        return p

    def create_task_handler(self, **options: Any) -> Any:
        """Return what is called with each message: the gate, then Celery's own handler."""
        admit = super().create_task_handler(**options)
        gate = Gate(
            queues=self.app.declared_queues,
            known_tasks=frozenset(self.app.tasks),
            native=not self.app.fleet_context.is_redis,
        )

        def receive(message: Any) -> None:
            queue = self._queue_of(message)
            message.delivery_info.update({QUEUE_HEADER: queue, CONNECTION: self.restart_count})
            if self._is_stopping() and not self._runs_or_ran(message):
                # Left alone, it goes back to its queue when the connection is closed.
                return
            verdict = self._unless_it_runs(message, _judge(gate, _delivery(message, queue)))
            self.app.telemetry.received(message, queue, verdict)
            match verdict:
                case Admit():
                    admit(message)
                case Refuse():
                    self._refuse(message, queue, verdict)
                case Postpone():
                    self._postpone(message, queue, verdict)

        return receive

    def _unless_it_runs(self, message: Any, verdict: Verdict) -> Verdict:
        """Let in what is late only because its own run, begun in time, has outlived a connection."""
        late = isinstance(verdict, Refuse) and verdict.reason is Reason.EXPIRED
        return Admit() if late and self._runs_or_ran(message) else verdict

    def _runs_or_ran(self, message: Any) -> bool:
        return bool(self.app.adoptions.knows(message, tuple(state.active_requests)))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Dead-letter what cannot be unpacked; Celery would acknowledge it away."""
        queue = self._queue_of(message)
        if queue is None:
            # A broadcast of remote control, which has no queue of its own to be dead-lettered from.
            super().on_decode_error(message, exc)
            return
        refusal = Refuse(reason=Reason.UNDECODABLE, detail=type(exc).__name__)
        self.app.telemetry.received(message, queue, refusal)
        self._refuse(message, queue, refusal)

    def _queue_of(self, message: Any) -> str | None:
        """Return the queue that ``message`` was consumed from: the consumer tag is the broker's word."""
        if self.app.fleet_context.is_redis:
            key = message.delivery_info.get("routing_key")
            return key if key in self.app.declared_queues else None
        tag = message.delivery_info.get("consumer_tag")
        tags = self.task_consumer._active_tags.items()
        return next((queue for queue, active in tags if active == tag), None)

    def _refuse(self, message: Any, queue: str | None, refusal: Refuse) -> None:
        level = logging.ERROR if refusal.reason in NOT_UNDERSTOOD else logging.WARNING
        fields = {"queue": queue, "reason": refusal.reason.value, "detail": refusal.detail}
        log.log(level, "message refused", extra={"event": "message_refused", "fields": fields})
        context = self.app.fleet_context
        dead_letters = next((q.dead_letter_queue for q in context.queues if q.name == queue), None)
        if dead_letters is None or context.is_redis or refusal.reason is Reason.UNREADABLE:
            # Nothing to copy, or nowhere to put it: the broker itself moves what is rejected.
            self._reject(message)
            return
        refused = Refused(
            reason=refusal.reason.value,
            detail=refusal.detail,
            host=context.host,
            worker=context.node_name,
            queue=str(queue),
            time=time.time(),
        )
        copy = dead_letter(_original(message), refused, dead_letter_queue=dead_letters)
        self._hand_over(message, copy, otherwise=self._reject)

    def _postpone(self, message: Any, queue: str | None, verdict: Postpone) -> None:
        copy = postponed(_original(message), queue_name=str(queue), delay_seconds=verdict.delay_seconds)
        self._hand_over(message, copy, otherwise=self._postpone_again)

    def _postpone_again(self, message: Any, copy: Any) -> None:
        """Hold what the broker cannot wait for now, and ask again: nothing is wrong with the message."""
        self.timer.call_after(AGAIN_SECONDS, self._hand_over_again, (message, copy))

    def _hand_over_again(self, message: Any, copy: Any) -> None:
        # Held over a connection that is gone, it has been delivered anew.
        if message.delivery_info[CONNECTION] == self.restart_count:
            self._hand_over(message, copy, otherwise=self._postpone_again)

    def _hand_over(self, message: Any, copy: Any, *, otherwise: Callable[[Any, Any], None]) -> None:
        self._held |= {_place(message)}

        def settle(*, placed: bool) -> None:
            if placed:
                self.call_soon(self._acknowledge, message)
            else:
                self.call_soon(otherwise, message, copy)

        self.app.handover.place(copy, settle)

    def _acknowledge(self, message: Any) -> None:
        self._held -= {_place(message)}
        message.ack_log_error(log, self.connection_errors)

    def _reject(self, message: Any, copy: Any = None) -> None:
        """Let the broker itself dead-letter ``message``."""
        del copy
        self._held -= {_place(message)}
        message.reject_log_error(log, self.connection_errors, requeue=False)

    def _tick(self) -> None:
        self.loop_tick = time.time()
        if self.hub is not None:
            forget_cancelled(self.hub.timer)
        if self._is_stopping() and not self.drained:
            self._drain()

    def _is_stopping(self) -> bool:
        return bool(self.app.stopping.stage > Stage.RUN)

    def _drain(self) -> None:
        context = self.app.fleet_context
        if context.adopts and awaits_adoption(self):
            return
        self.drained = True
        # Celery's own handlers, which ours replace, would send it.
        signals.worker_shutting_down.send(sender=self.hostname, sig="SIGTERM", how="Warm", exitcode=0)
        cancel_consumers(self, is_redis=context.is_redis)
        fields = {
            "given_back": give_back(self),
            "running": len(state.active_requests),
            "stop_seconds": self.app.stopping.stop_seconds,
        }
        log.info("taking nothing new", extra={"event": "worker_draining", "fields": fields})


def _place(message: Any) -> tuple[object, object]:
    return message.delivery_info[CONNECTION], message.delivery_tag


def _judge(gate: Gate, delivery: Delivery) -> Verdict:
    try:
        return gate.judge(delivery, now=time.time())
    except Exception as error:  # noqa: BLE001 - a message that the gate stumbles over is refused, whatever it is
        return Refuse(reason=Reason.MALFORMED, detail=type(error).__name__)


def _delivery(message: Any, queue: str | None) -> Delivery:
    return Delivery(
        queue=queue,
        routing_key=str(message.delivery_info.get("routing_key", "")),
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        unreadable=message.properties.get("type") == UNREADABLE,
        compressed="compression" in message.headers or COMPRESSION in message.delivery_info,
        decode=message.decode,
    )


def _original(message: Any) -> Original:
    body = message.body
    info = message.delivery_info
    packed = {"compression": info[COMPRESSION]} if COMPRESSION in info else {}
    return Original(
        exchange=str(info.get("exchange", "")),
        routing_key=str(info.get("routing_key", "")),
        body=body.encode() if isinstance(body, str) else bytes(body),
        headers=message.headers | packed,
        properties=message.properties,
    )
