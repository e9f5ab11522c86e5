"""How are messages written to a broker node and its answers read? One connection, one channel with confirms.

What comes back goes into a window (``fleet.publish.window``); when to write, wait, reconnect or give up is
decided elsewhere (``fleet.publish.stream``).
"""

import math
import os
import select
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
from amqp import spec
from amqp.exceptions import AMQPError, ChannelError, RecoverableConnectionError

from fleet.connection import Target, address, connect
from fleet.publish.encoding import Encoded, Encoder
from fleet.publish.fate import FateKind
from fleet.publish.message import WireMessage
from fleet.publish.window import Window

#: a connection that was unused for longer is opened anew: a firewall may have forgotten it
IDLE_SECONDS = 20.0
#: for the rest of a frame whose beginning has come
PARTIAL_SECONDS = 1.0
#: reply code for an exchange or a queue that is not there
NOT_FOUND = 404

#: enough for one write to the socket; each costs the kernel as much as encoding a message
WRITE_BYTES = 32 * 1024

#: connections of processes that this one was forked from, kept for good: to close one would end it there, too
_inherited: list[amqp.Connection] = []


class Link:
    """A channel to a broker that opens when it is told to and notes the broker's answers in a window."""

    def __init__(self, target: Target, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.target = target
        #: what is written and answered
        self.window = Window()
        #: the broker holds publishers back (memory or disk alarm)
        self.is_blocked = False
        #: when the broker was last heard, and when it last answered a message (monotonic seconds)
        self.heard = self.answered = 0.0
        #: when something was written last
        self._used = 0.0
        self._clock = clock
        self._encoder = Encoder()
        #: the process that the connection belongs to
        self._process = os.getpid()
        self._connection: amqp.Connection | None = None
        self._channel: Any = None
        #: frames for the next write to the socket, and their size
        self._frames: list[bytes] = []
        self._frames_bytes = 0
        self._first_node = 0
        #: there has been a connection
        self.was_open = False
        #: queues that were seen to exist
        self._seen_queues: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection, as far as is known without asking."""
        return self._connection is not None

    def open(self, *, timeout_seconds: float | None = None) -> None:
        """Connect, unless connected. Raises BrokerUnreachable, BrokerRefused, OSError or AMQPError."""
        self.drop_if_stale()
        if self._connection is None:
            self._connection = connect(
                self.target,
                first_node=self._first_node,
                timeout_seconds=timeout_seconds,
                on_blocked=self._note_blocked,
                on_unblocked=self._note_unblocked,
            )
            self._first_node = self._number_of(self._connection)
            try:
                self._open_channel(self._connection)
            except BaseException:
                self.drop(next_node=True)
                raise
            self.heard = self._used = self._clock()
            self.was_open = True

    def encode(self, message: WireMessage) -> Encoded:
        """Return ``message`` ready to be written; raises for what AMQP cannot carry."""
        return self._encoder.encode(message)

    def write_next(self) -> bool:
        """Write the window's next message; return False when there is none to write now.

        Raises OSError or AMQPError when the connection or the channel ended.
        """
        flight = self.window.next_to_write()
        if flight is None:
            return False
        assert self._connection is not None
        required = flight.message.required_queue
        if required and not self._has_queue(required):
            reason = f"404 NOT_FOUND - no queue '{required}'"
            self.window.refuse_next(reason, kind=FateKind.UNROUTABLE)
            return True
        encoded: Encoded = flight.encoded
        self.window.note_write()
        frames = encoded.frames(self._channel.channel_id, self._connection.frame_max)
        self._frames.append(frames)
        self._frames_bytes += len(frames)
        if self._frames_bytes >= WRITE_BYTES:
            self.flush()
        return True

    def flush(self) -> None:
        """Write what was collected to the socket."""
        if self._frames:
            whole = b"".join(self._frames)
            self._frames, self._frames_bytes = [], 0
            self._transport().write(whole)
            self._used = self._clock()

    def read(self, timeout_seconds: float) -> None:
        """Take in all that the broker has said, after waiting for it for at most ``timeout_seconds``.

        Raises OSError or AMQPError when the connection or the channel ended.
        """
        assert self._connection is not None
        seconds = timeout_seconds
        while self._has_input(seconds):
            try:
                self._connection.blocking_read(PARTIAL_SECONDS)
            except TimeoutError:
                return  # half a frame; py-amqp keeps it for the next time
            self.heard = self._clock()
            seconds = 0
        if seconds and not self.is_blocked:
            # We are waiting; without a sign of life, the broker would take us for dead.
            self._connection.send_heartbeat()

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Have each write inside the ``with`` block take at most ``seconds``."""
        with self._transport().having_timeout(seconds):
            yield

    def drop(self, *, next_node: bool = False) -> None:
        """Close the socket at once; a broker that has stopped reading would not answer a polite close."""
        self._leave_to_parent()
        connection, self._connection, self._channel = self._connection, None, None
        self._seen_queues, self.is_blocked = set(), False
        self._first_node += next_node
        self.window.forget_connection()
        if connection is not None:
            connection.collect()

    def drop_if_stale(self) -> None:
        """Drop a connection that was unused for too long, or that something has come in on which ends it."""
        self._leave_to_parent()
        if self._connection is None:
            return
        try:
            self.read(0)
        except (OSError, AMQPError):
            self.drop()
        else:
            if self._clock() - self._used > IDLE_SECONDS:
                self.drop()

    def close(self) -> None:
        """Close the connection in order; bounded by the read timeout."""
        self._leave_to_parent()
        try:
            if self._connection is not None:
                self._connection.close()
        except (OSError, AMQPError):
            pass  # every message has its answer already
        finally:
            self.drop()

    def _leave_to_parent(self) -> None:
        """Let go of a connection that this process was forked with: each would take the other's confirms."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = self._channel = None
            self.drop()
        # What another thread had on its way when the process forked.
        self.window.clear()

    def _transport(self) -> Any:
        """Return what reads and writes; py-amqp would connect anew, by itself, on a connection that ended."""
        if self._connection is None or not self._connection.connected:
            raise RecoverableConnectionError("the connection was closed")
        return self._connection.transport

    def _has_input(self, timeout_seconds: float) -> bool:
        """Tell whether there is something to read within that time."""
        sock = self._transport().sock
        # TLS may have taken more from the socket than was asked of it.
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(math.ceil(timeout_seconds * 1000)))

    def _open_channel(self, connection: amqp.Connection) -> None:
        self._channel = channel = connection.channel()
        self._frames, self._frames_bytes = [], 0
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._rejected)
        channel.events["basic_return"].add(self._came_back)

    def _number_of(self, connection: amqp.Connection) -> int:
        """Return the number of the node that answered, so that dead ones are not tried first again."""
        addresses = [address(node) for node in self.target.broker.nodes]
        return addresses.index(connection.host) if connection.host in addresses else self._first_node

    def _has_queue(self, name: str) -> bool:
        """Tell whether queue ``name`` exists; asks once per connection."""
        if name in self._seen_queues:
            return True
        assert self._connection is not None
        # On a channel of its own: the broker closes the one on which a queue is missing.
        channel = self._connection.channel()
        try:
            channel.queue_declare(name, passive=True)
        except ChannelError as error:
            # It may also be about the messages that were published.
            if error.method_sig != spec.Queue.Declare or error.reply_code != NOT_FOUND:
                raise
        else:
            self._seen_queues.add(name)
        channel.close()
        return name in self._seen_queues

    # The next five are called by py-amqp, with its positional arguments.
    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001
        if self.window.confirm(tag, multiple=multiple):
            self.answered = self._clock()

    def _rejected(self, tag: int, multiple: bool) -> None:  # noqa: FBT001
        if self.window.reject(tag, multiple=multiple):
            self.answered = self._clock()

    def _came_back(self, error: AMQPError, exchange: str, routing_key: str, message: Any) -> None:
        del exchange, routing_key
        reason = f"{error.reply_code} {error.reply_text}"
        self.window.note_return(str(message.properties["correlation_id"]), reason)

    def _note_blocked(self, reason: str) -> None:
        del reason  # py-amqp does not pass on the broker's own
        self.is_blocked = True

    def _note_unblocked(self) -> None:
        self.is_blocked = False
