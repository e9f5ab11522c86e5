"""How are dead letters looked at without taking them out of their queue?

A queue has no way to be read: messages are consumed, held, and put back by closing the connection, which also
happens by itself when this process dies. What is acknowledged meanwhile is gone, everything else stays.

What a look costs, measured on RabbitMQ 3.10 and 4.0: each letter gains a delivery (so a delivery limit on the
queue would end letters that are looked at too often; provisioning keeps it off), and their order may change.
What is held is hidden from another look. 100,000 letters are back 1 s after the end; memory is for one page.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import amqp
from amqp.exceptions import AMQPError, ChannelError

from fleet.connection import Target, connect
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.letters.letter import Letter, read_letter
from fleet.worker.wire import forgiving_frames

#: letters that are fetched together; bounds the memory that a long queue costs
PAGE = 250
#: one wait for letters
_SILENCE_SECONDS = 0.2
#: waits without a letter after which somebody else must have what is missing; a busy broker takes its time
_QUIET_WAITS = 15
#: for as long the broker may owe letters that it says are there
_PATIENCE_SECONDS = 30.0
_TICK_SECONDS = 5.0
#: for as long the queue may take to note the acknowledgements; it needs a tenth of a second for hundreds
_SETTLE_SECONDS = 20.0
#: the same where others look, too: then it cannot be told for certain
_SHARED_SECONDS = 3.0
#: the same once the operator wants the end: hundreds are noted in a tenth, and for others nobody waits
_HURRIED_SECONDS = 1.0
_SETTLE_PAUSE_SECONDS = 0.01
#: after its end a look counts as a consumer until its letters are back: 1 ms for a few, 1 s for very many
_ALONE_SECONDS = 2.0
_ALONE_PAUSE_SECONDS = 0.02
#: counts that prove wrong, one after the other, before the queue is given up
_COUNTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A letter that nobody else gets while it is held."""

    tag: int
    letter: Letter


class LookLost(BrokerUnreachable):
    """The connection went; every letter that was not acknowledged is back in its queue."""


class Look:
    """One look into one dead-letter queue, at no more letters than lie there when it begins.

    Where ``is_interrupted``, it waits for nobody: it yields what has come, and ends.
    """

    def __init__(
        self, target: Target, dead_letter_queue: str, *, is_interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self._target = target
        self._queue = dead_letter_queue
        self._is_interrupted = is_interrupted
        self._arrived: list[Held] = []
        self._acknowledged = False
        #: after the end: why letters that were acknowledged may be here again; None when that cannot be
        self.doubt: str | None = None
        self._last_tick = time.monotonic()
        # A letter may be here because no worker can read its properties.
        self._connection: amqp.Connection = connect(target, frames=forgiving_frames)
        self._channel: Any = None
        try:
            self._channel = self._connection.channel()
            # Sent again, a body must be the very bytes that it was.
            self._channel.auto_decode = False
            there = self._counted_alone()
            if not there.message_count:
                # Whoever may not read the queue is told so even when there is nothing to read.
                self._channel.basic_get(dead_letter_queue)
        except ChannelError as error:
            self._connection.collect()
            raise _refused(target, dead_letter_queue, error) from error
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error
        #: letters that nobody holds
        self.size = int(there.message_count)
        #: others who look
        self.others = int(there.consumer_count)

    def _counted_alone(self) -> Any:
        """Count the queue, once a look that has just ended has put back what it held."""
        deadline = time.monotonic() + _ALONE_SECONDS
        there = self._counted()
        while there.consumer_count and time.monotonic() < deadline and not self._is_interrupted():
            time.sleep(_ALONE_PAUSE_SECONDS)
            there = self._counted()
        return there

    def _counted(self) -> Any:
        """Count what nobody holds, and the consumers; whoever holds a letter counts as one.

        A queue that is too busy to answer within 250 ms is told as empty and without consumers. A get waits
        for the queue itself, so it tells the two apart.
        """
        for _ in range(_COUNTS):
            there = self._channel.queue_declare(self._queue, passive=True)
            if there.message_count or there.consumer_count:
                return there
            letter = self._channel.basic_get(self._queue)
            if letter is None:
                return self._channel.queue_declare(self._queue, passive=True)
            self._channel.basic_reject(letter.delivery_tag, requeue=True)
        raise TimeoutError("the broker does not count its letters")

    def letters(self, *, at_most: int | None = None) -> Iterator[Held]:
        """Yield the letters that lie here, each held until it is acknowledged or the look ends.

        Raises LookLost, or BrokerRefused when this user may not read the queue.
        """
        left = self.size if at_most is None else min(self.size, at_most)
        while left > 0:
            page = self._page(min(left, PAGE))
            if not page:
                return
            left -= len(page)
            yield from page

    def acknowledge(self, held: Held) -> None:
        """Take ``held`` out of its queue for good. Raises LookLost."""
        try:
            self._channel.basic_ack(held.tag)
            self._acknowledged = True
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, and keep the connection alive meanwhile. Raises LookLost."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._drain(min(left, _TICK_SECONDS))

    def close(self) -> None:
        """Put back what is held; the acknowledgements before are kept, or ``doubt`` says why they may not."""
        try:
            if self._acknowledged:
                self.doubt = "the connection went before the broker had noted that"
                self.doubt = self._settled()
            self._connection.close()
        except (BrokerUnreachable, OSError, AMQPError):
            self._connection.collect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settled(self) -> str | None:
        """Put back what is held and wait until the queue has noted each acknowledgement, or say what it owes.

        While a quorum queue is busy, a channel keeps further acknowledgements to itself, and drops them when
        it is closed: such letters would be here again. A page counts as a consumer until each of its letters
        is gone or back, so without consumers nothing is under way.
        """
        self._channel.basic_recover(requeue=True)
        deadline = time.monotonic() + (_SHARED_SECONDS if self.others else _SETTLE_SECONDS)
        is_hurried = False
        while count := int(self._counted().consumer_count):
            if not is_hurried and self._is_interrupted():
                is_hurried, deadline = True, min(deadline, time.monotonic() + _HURRIED_SECONDS)
            if time.monotonic() > deadline:
                return f"the broker counts {count} consumers there still, of this command or of somebody else"
            self.wait(_SETTLE_PAUSE_SECONDS)
        return None

    def _page(self, size: int) -> list[Held]:
        """Return ``size`` letters, or as many as there still are."""
        tag = self._consume(size)
        patience, quiet, seen = time.monotonic() + _PATIENCE_SECONDS, 0, 0
        while len(self._arrived) < size and not self._is_interrupted():
            self._drain(_SILENCE_SECONDS)
            quiet = quiet + 1 if len(self._arrived) == seen else 0
            if not quiet:
                seen, patience = len(self._arrived), time.monotonic() + _PATIENCE_SECONDS
            elif quiet >= _QUIET_WAITS and self._is_empty():
                break
            if time.monotonic() > patience:
                raise self._lost(TimeoutError("the broker says that there are letters, and sends none"))
        # Else the place of each letter that is acknowledged would be filled with one that came later.
        self._cancel(tag)
        page, self._arrived = self._arrived, []
        return page

    def _consume(self, size: int) -> str:
        try:
            self._channel.basic_qos(0, size, False)  # noqa: FBT003 - py-amqp's signature
            return str(self._channel.basic_consume(self._queue, callback=self._take))
        except ChannelError as error:
            self._connection.collect()
            raise _refused(self._target, self._queue, error) from error
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def _cancel(self, tag: str) -> None:
        try:
            self._channel.basic_cancel(tag)
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def _is_empty(self) -> bool:
        try:
            there = self._channel.queue_declare(self._queue, passive=True)
            # This look is a consumer: without any, it is the answer of a queue too busy to give one.
            return not there.message_count and bool(there.consumer_count)
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def _drain(self, seconds: float) -> None:
        try:
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=seconds)
            if time.monotonic() - self._last_tick >= _TICK_SECONDS:
                self._connection.heartbeat_tick()
                self._last_tick = time.monotonic()
        except (OSError, AMQPError) as error:
            raise self._lost(error) from error

    def _take(self, message: amqp.Message) -> None:
        body = message.body
        properties = dict(message.properties)
        headers = properties.pop("application_headers", None) or {}
        letter = read_letter(
            dead_letter_queue=self._queue,
            headers=headers,
            properties=properties,
            body=body.encode() if isinstance(body, str) else bytes(body),
        )
        self._arrived.append(Held(tag=message.delivery_tag, letter=letter))

    def _lost(self, error: Exception) -> LookLost:
        self._connection.collect()
        return LookLost(
            f"the connection to `{self._queue}` went: {error}",
            hint="nothing is lost: what was not dealt with is in its queue; run the command again",
        )


def _refused(target: Target, queue: str, error: ChannelError) -> BrokerRefused:
    return BrokerRefused(
        f"`{queue}` cannot be read in {target.vhost}: {error.reply_text}",
        hint="run `fleet provision broker`; the user needs the role `operator` (`[broker.users.NAME]`)",
    )
