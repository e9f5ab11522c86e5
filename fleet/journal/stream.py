"""How is the journal's stream read over AMQP 0-9-1?

By a consumer with a prefetch limit (without one the broker refuses, 406) and an offset to begin at. A stream
has no end marker, and taking single messages from it is not possible.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import amqp
from amqp.exceptions import AMQPError, ChannelError

from fleet.connection import Target, connect
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.routes import JOURNAL_STREAM

#: records that the broker may send ahead
PREFETCH = 200
_TICK_SECONDS = 5.0

#: where to begin: ``first``, ``last`` (block), ``next`` (to be written), an offset, or a naive UTC moment
Offset = str | int | datetime


class StreamLost(BrokerUnreachable):
    """The connection to the stream went; it may be read on from the next offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of the stream."""

    #: its number, which it keeps for ever
    offset: int
    body: bytes | str


class StreamConsumer:
    """One connection that reads the journal from an offset on."""

    def __init__(self, target: Target, offset: Offset) -> None:
        self._arrived: list[Entry] = []
        self._last_tick = time.monotonic()
        self._connection: amqp.Connection = connect(target)
        self._channel: Any = None
        try:
            self._consume(offset)
        except ChannelError as error:
            self._connection.collect()
            raise _refused(target, error) from error
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def entries(self, timeout_seconds: float) -> list[Entry]:
        """Return what has arrived, after waiting for at most ``timeout_seconds`` for something.

        Raises StreamLost when the connection went.
        """
        deadline = time.monotonic() + timeout_seconds
        try:
            while not self._arrived and (left := deadline - time.monotonic()) > 0:
                self._drain(min(left, _TICK_SECONDS))
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """Close the connection; bounded by the read timeout."""
        try:
            self._connection.close()
        except (OSError, AMQPError):
            self._connection.collect()

    def _consume(self, offset: Offset) -> None:
        self._channel = self._connection.channel()
        self._channel.basic_qos(0, PREFETCH, False)  # noqa: FBT003 - py-amqp's signature
        self._channel.basic_consume(
            JOURNAL_STREAM, callback=self._take, arguments={"x-stream-offset": offset}
        )

    def _drain(self, seconds: float) -> None:
        # When nothing comes, what follows keeps the connection alive.
        with suppress(TimeoutError):
            self._connection.drain_events(timeout=seconds)
        if time.monotonic() - self._last_tick >= _TICK_SECONDS:
            self._connection.heartbeat_tick()
            self._last_tick = time.monotonic()

    def _take(self, message: amqp.Message) -> None:
        self._arrived.append(Entry(offset=message.headers["x-stream-offset"], body=message.body))
        if message.delivery_tag % (PREFETCH // 2) == 0:
            # In a stream an acknowledgement is credit for more, nothing else.
            self._channel.basic_ack(message.delivery_tag, multiple=True)

    def _lost(self, error: Exception) -> StreamLost:
        self._connection.collect()
        return StreamLost(f"the connection to the journal went: {error}", hint="check that the broker runs")


def _refused(target: Target, error: ChannelError) -> BrokerRefused:
    return BrokerRefused(
        f"the journal cannot be read in {target.vhost}: {error.reply_text}",
        hint="run `fleet provision broker`; the user needs the role `observer` (`[broker.users.NAME]`)",
    )
