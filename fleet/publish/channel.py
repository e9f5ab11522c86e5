"""How does a batch of messages reach RabbitMQ for certain? Mandatory, confirmed, within a time limit.

Messages are written one after the other and their confirms awaited together, which is several times faster
than waiting for each.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Any, Self

import amqp
from amqp.exceptions import AMQPError, ChannelError

from fleet.connection import Target, address, connect
from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain
from fleet.publish.message import WireMessage

#: unconfirmed messages at a time; bounds the memory that a slow broker costs
WINDOW = 200
#: a connection that was unused for longer is opened anew: a firewall may have forgotten it
IDLE_SECONDS = 20.0


#: no message has an answer
NOTHING: Mapping[int, "Refusal | None"] = MappingProxyType({})


class RefusalKind(StrEnum):
    """Why the broker did not take a message."""

    #: no queue is bound for it
    UNROUTABLE = "unroutable"
    #: a queue would not have it: it is full, or too few of its nodes are up
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The broker's answer to a message that it did not take."""

    kind: RefusalKind
    #: in the broker's own words, or what a negative confirm means
    reason: str


class ConnectionLost(PublishUncertain):
    """The connection went before every confirm came; what has no answer may be sent again at once."""

    def __init__(
        self, message: str, *, hint: str | None = None, answered: Mapping[int, Refusal | None] = NOTHING
    ) -> None:
        super().__init__(message, hint=hint)
        #: index in the batch → what the broker said before: None when it has the message, or why it has not
        self.answered = answered


class ConfirmedChannel:
    """A channel to a broker that opens by itself and says for each message what became of it."""

    def __init__(self, target: Target, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target
        self._clock = clock
        self._connection: amqp.Connection | None = None
        self._channel: Any = None
        self._first_node = 0
        self._last_used = 0.0
        self._is_blocked = False
        self._next_tag = 1
        #: delivery tag → index in the batch
        self._pending: dict[int, int] = {}
        #: queues that were seen to exist
        self._seen_queues: set[str] = set()
        #: messages of the batch that were written, at least in part
        self._written = 0
        #: index in the batch → negative confirm
        self._refusals: dict[int, Refusal] = {}
        #: message id → return; a return names its message, a confirm only its tag
        self._returned: dict[str, Refusal] = {}

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Publish ``messages`` and return, for each, None or why the broker did not take it.

        Raises BrokerUnreachable (nothing was sent), BrokerRefused (login, vhost, exchange or permission),
        ConnectionLost, or PublishUncertain when the confirms did not come within ``timeout_seconds``.
        """
        deadline = self._clock() + timeout_seconds
        self.open()
        self._refusals, self._returned, self._written = {}, {}, 0
        if messages and self._clock() >= deadline:
            raise _too_late(timeout_seconds)
        try:
            self._write_all(messages, deadline)
        except ChannelError as error:
            self.drop()
            raise _publish_refused(self._target, error) from error
        except (OSError, AMQPError) as error:
            timed_out = self._clock() >= deadline
            raise self._lost(error, timed_out=timed_out, answered=self._answers(messages)) from error
        except BaseException:
            # The message at fault took a delivery tag that the broker never saw: later ones would not match.
            self.drop()
            raise
        self._last_used = self._clock()
        return tuple(self._answers(messages).values())

    def open(self) -> None:
        """Connect, unless connected; raises BrokerUnreachable, BrokerRefused or ConnectionLost."""
        if self._connection is not None and not self._is_usable():
            self.drop()
        if self._connection is None:
            self._connection = connect(
                self._target, first_node=self._first_node, on_blocked=self._note_blocked
            )
            self._first_node = self._number_of(self._connection)
            try:
                self._channel = self._open_channel(self._connection)
            except (OSError, AMQPError) as error:
                raise self._lost(error, timed_out=False) from error
            except BaseException:
                self.drop()
                raise

    def require_queue(self, name: str) -> None:
        """Make sure that queue ``name`` exists, once per connection. Raises BrokerRefused, as deliver."""
        self.open()
        if name in self._seen_queues:
            return
        try:
            self._channel.queue_declare(name, passive=True)
        except ChannelError as error:
            self.drop()
            raise _publish_refused(self._target, error) from error
        except (OSError, AMQPError) as error:
            raise self._lost(error, timed_out=False) from error
        self._seen_queues.add(name)

    def drop(self) -> None:
        """Close the socket at once; a broker that has stopped reading would not answer a polite close."""
        connection, self._connection, self._channel = self._connection, None, None
        self._pending, self._seen_queues, self._is_blocked = {}, set(), False
        if connection is not None:
            connection.collect()

    def close(self) -> None:
        """Close the connection in order; bounded by the read timeout."""
        try:
            if self._connection is not None:
                self._connection.close()
        except (OSError, AMQPError):
            pass  # every message is confirmed already
        finally:
            self.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_usable(self) -> bool:
        """Tell whether the connection is fresh, and nothing has come in that ends it."""
        if self._clock() - self._last_used > IDLE_SECONDS:
            return False
        assert self._connection is not None
        try:
            self._connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except (OSError, AMQPError):
            return False
        return True

    def _open_channel(self, connection: amqp.Connection) -> Any:
        channel = connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._rejected)
        channel.events["basic_return"].add(self._came_back)
        self._next_tag = 1
        return channel

    def _number_of(self, connection: amqp.Connection) -> int:
        """Return the number of the node that answered, so that dead ones are not tried first again."""
        addresses = [address(node) for node in self._target.broker.nodes]
        return addresses.index(connection.host) if connection.host in addresses else self._first_node

    def _write_all(self, messages: Sequence[WireMessage], deadline: float) -> None:
        for index, message in enumerate(messages):
            self._write(index, message, deadline)
            self._await_confirms(deadline, at_most=WINDOW - 1)
        self._await_confirms(deadline, at_most=0)

    def _answers(self, messages: Sequence[WireMessage]) -> dict[int, Refusal | None]:
        """Return for each message that the broker has answered, by index, what it said."""
        open_ones = set(self._pending.values())
        return {
            index: self._refusals.get(index) or self._returned.get(messages[index].message_id)
            for index in range(self._written)
            if index not in open_ones
        }

    def _write(self, index: int, message: WireMessage, deadline: float) -> None:
        self._pending[self._next_tag] = index
        self._next_tag += 1
        self._written = index + 1
        content = amqp.Message(
            message.body, application_headers=dict(message.headers), **dict(message.properties)
        )
        self._channel.basic_publish(
            content,
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=True,
            timeout=self._remaining(deadline),
        )

    def _await_confirms(self, deadline: float, *, at_most: int) -> None:
        assert self._connection is not None
        while len(self._pending) > at_most:
            self._connection.drain_events(timeout=self._remaining(deadline))

    def _remaining(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _settle(self, tag: int, *, multiple: bool) -> list[int]:
        tags = [known for known in self._pending if known <= tag] if multiple else [tag]
        return [self._pending.pop(known) for known in tags if known in self._pending]

    # The next four are called by py-amqp, with its positional arguments.
    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001
        self._settle(tag, multiple=multiple)

    def _rejected(self, tag: int, multiple: bool) -> None:  # noqa: FBT001
        refusal = Refusal(kind=RefusalKind.REJECTED, reason="negative confirm")
        self._refusals.update(dict.fromkeys(self._settle(tag, multiple=multiple), refusal))

    def _came_back(self, error: AMQPError, exchange: str, routing_key: str, message: Any) -> None:
        del exchange, routing_key
        reason = f"{error.reply_code} {error.reply_text}"
        refusal = Refusal(kind=RefusalKind.UNROUTABLE, reason=reason)
        self._returned[str(message.properties["correlation_id"])] = refusal

    def _note_blocked(self, reason: str) -> None:
        del reason  # py-amqp does not pass on the broker's own
        self._is_blocked = True

    def _lost(
        self,
        error: OSError | AMQPError,
        *,
        timed_out: bool,
        answered: Mapping[int, Refusal | None] = NOTHING,
    ) -> PublishUncertain:
        """Drop the connection and return what its end means for the messages in flight."""
        blocked = self._is_blocked
        self.drop()
        self._first_node += 1
        if blocked:
            return PublishUncertain(
                "the broker holds publishers back (memory or disk alarm) and did not confirm in time",
                hint="see `rabbitmq-diagnostics alarms` on the broker; send again with the same key or id",
            )
        if timed_out:
            return PublishUncertain(
                "the broker did not confirm in time",
                hint="see `rabbitmq-diagnostics check_running`; send again with the same key or id",
            )
        return ConnectionLost(
            f"the connection went before the broker's confirm came: {error}",
            hint="send again with the same key or id",
            answered=answered,
        )


def _too_late(timeout_seconds: float) -> BrokerUnreachable:
    return BrokerUnreachable(
        f"connecting took the whole {timeout_seconds:g} s; nothing was sent",
        hint="check which nodes of `[broker]` in the fleet file are down, and send again",
    )


def _publish_refused(target: Target, error: ChannelError) -> BrokerRefused:
    return BrokerRefused(
        f"the broker refused {target.vhost}: {error.reply_text}",
        hint="run `fleet provision broker --check` to see what is missing or differs",
    )
