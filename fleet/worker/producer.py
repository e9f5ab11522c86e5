"""How does what a task sends, its own next attempt included, reach the broker for certain?

Celery makes the message. Where it would publish it through kombu, it finds this, which puts it on a channel
of ``fleet.publish``: confirmed, mandatory, bounded in time, on the next broker node when one is away.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Self

import amqp
from kombu.exceptions import OperationalError
from kombu.serialization import dumps

from fleet.connection import Target
from fleet.errors import BrokerRefused, FleetError
from fleet.publish.channels import Channels
from fleet.publish.fate import Fate, FateKind
from fleet.publish.message import WireMessage
from fleet.publish.publisher import HEARTBEAT_SECONDS
from fleet.routes import DELAY_EXCHANGE
from fleet.worker.delay import undelayed_key

#: after which a connection is closed; the broker gives it up at twice its heartbeat
IDLE_SECONDS = 1.5 * HEARTBEAT_SECONDS
#: for the broker's answer, and as long for a broker that is away: about a restart
PUBLISH_SECONDS = 20.0
_PERSISTENT = 2
_PROPERTIES = frozenset(name for name, _ in amqp.Message.PROPERTIES) - {"application_headers"}


class Misdirected(OperationalError):  # type: ignore[misc]  # kombu ships no types
    """The broker has no place for a message, or no right for its sender: sending it again cannot help."""


class ConfirmedProducer:
    """What Celery publishes tasks through, in place of kombu's producer; any thread may use it."""

    #: Celery asks for it when it runs tasks eagerly; None leaves it to the app
    serializer: str | None = None

    def __init__(self, target: Callable[[], Target], *, timeout_seconds: float = PUBLISH_SECONDS) -> None:
        self._channels = Channels(lambda: replace(target(), heartbeat_seconds=HEARTBEAT_SECONDS))
        self._timeout_seconds = timeout_seconds
        self._used = 0.0
        #: closes what is idle, in the process that it was started in
        self._closing: threading.Thread | None = None

    @property
    def connection(self) -> Self:
        """Return what Celery asks to translate errors; ``publish`` raises translated ones only."""
        return self

    def _reraise_as_library_errors(self) -> AbstractContextManager[None]:
        return nullcontext()

    def publish(self, body: object, **options: Any) -> None:
        """Return when the broker has the message for certain.

        Raises kombu's OperationalError, as Celery promises: Misdirected where trying again cannot help.
        """
        message = wire_message(body, **options)
        try:
            with self._channels.lend() as channel:
                (fate,) = channel.fates((message,), timeout_seconds=self._timeout_seconds, waits=True)
        except BrokerRefused as error:
            raise Misdirected(error.message) from error
        except FleetError as error:
            raise OperationalError(error.message) from error
        self._close_when_idle()
        if not fate.accepted:
            raise _not_taken(message, fate)

    def _close_when_idle(self) -> None:
        """Let no connection lie idle: nobody sends its heartbeats, and the broker would complain of each."""
        self._used = time.monotonic()
        # A thread does not survive a fork, and its copy says so.
        if self._closing is None or not self._closing.is_alive():
            self._closing = threading.Thread(target=self._await_idle, name="fleet-producer", daemon=True)
            self._closing.start()

    def _await_idle(self) -> None:
        while (left := self._used + IDLE_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        # What begins to publish now has either its channel already or a new one.
        self.close()

    def close(self) -> None:
        """Close the connections of this process; they are opened again when something is published."""
        self._channels.close()


def wire_message(
    body: object,
    *,
    exchange: Any,
    routing_key: str,
    headers: Mapping[str, object],
    serializer: str | None = None,
    **options: Any,
) -> WireMessage:
    """Return Celery's message for the wire: always persistent, never compressed, for no worker unpacks it."""
    content_type, content_encoding, data = dumps(body, serializer=serializer)
    exchange_name = str(getattr(exchange, "name", exchange) or "")
    properties = {name: value for name, value in options.items() if name in _PROPERTIES}
    if properties.get("expiration") is not None:
        properties["expiration"] = str(int(properties["expiration"] * 1000))
    return WireMessage(
        exchange=exchange_name,
        routing_key=routing_key,
        body=data.encode() if isinstance(data, str) else data,
        headers=headers,
        properties=properties
        | {
            "correlation_id": str(headers["id"]),
            "content_type": content_type,
            "content_encoding": content_encoding,
            "delivery_mode": _PERSISTENT,
        },
        required_queue=undelayed_key(routing_key) if exchange_name == DELAY_EXCHANGE else None,
    )


def _not_taken(message: WireMessage, fate: Fate) -> OperationalError:
    task, key = message.headers["task"], undelayed_key(message.routing_key)
    if fate.kind is FateKind.UNROUTABLE:
        return Misdirected(f"no queue takes task `{task}`: `{key}` is not bound ({fate.reason})")
    if fate.kind is FateKind.UNKNOWN:
        return OperationalError(f"no confirm came for task `{task}` to `{key}`: {fate.reason}")
    return OperationalError(
        f"the broker did not take task `{task}` for `{key}`: a queue is full, or too few of its nodes are up "
        f"({fate.reason})"
    )
