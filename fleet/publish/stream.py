"""How do messages, however many, reach the broker for certain, in bounded time and memory?

Messages are taken from an iterator while the window has room, written one after the other, and their confirms
awaited together. A lost connection is opened again, on the next node if need be, and what had no answer is
written once more under the same id. When the broker answers nothing for too long, every message that was
taken gets its fate, and an error says why the rest was not taken.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator

from amqp.exceptions import AMQPError, ChannelError

from fleet.connection import DEFAULT_TIMEOUTS, Target
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PublishUncertain
from fleet.publish.fate import Fate
from fleet.publish.link import Link
from fleet.publish.message import WireMessage
from fleet.publish.window import Window

#: between two looks at what the broker has said, while there are messages to write
LOOK_SECONDS = 0.005
#: a node that says nothing, not even a heartbeat, for this long hangs; another one may not
SILENCE_SECONDS = DEFAULT_TIMEOUTS.silence_seconds
#: before the first attempt to connect again, and the longest that this grows to
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
#: a message that has been on so many connections and was never answered is given up
MOST_WRITES = 5
#: what is left at least for the broker after the caller has kept us waiting
LEAST_SECONDS = 1.0
#: what the broker closes a channel with over a message that is too large, among others
PRECONDITION_FAILED = 406
AGAIN = "send again with the same key or id"


class _TooLate(Exception):
    """The broker has had its time."""


class Stream:
    """One pass of messages over a link; ``fates`` may be called once."""

    def __init__(
        self,
        link: Link,
        *,
        timeout_seconds: float,
        reconnects: bool = True,
        waits: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._link = link
        self._window = link.window
        self._timeout_seconds = timeout_seconds
        self._reconnects = reconnects
        #: for a broker at the beginning, too; otherwise only for one that was there before
        self._waits = waits
        self._clock = clock
        self._sleep = sleep
        self._source: Iterator[WireMessage] | None = None
        #: raised at the end, when every message that was taken has its fate
        self._error: BaseException | None = None
        #: the broker has closed the channel over one of the messages; alone, each is answered for itself
        self._one_by_one = False
        self._pause = FIRST_PAUSE_SECONDS
        #: why there was no connection, the last time
        self._trouble: BrokerUnreachable | None = None
        #: when control came back from the caller
        self._resumed = 0.0

    def fates(self, messages: Iterable[WireMessage]) -> Generator[Fate, None, None]:
        """Publish ``messages`` and yield the fate of each, in their order.

        Raises BrokerUnreachable when no node answers, before any message is taken: at once, unless it is to
        wait or there has been a connection before. Later errors come after
        the fates of all messages that were taken: BrokerUnreachable (none of them is unknown),
        PublishUncertain (some are), BrokerRefused (exchange or permission), or what ``messages`` raised.
        """
        self._link.drop_if_stale()
        if not self._link.window.is_empty:
            # Of a pass that was interrupted in its caller's code, whose traceback keeps it from ending.
            self._leave()
        self._window = self._link.window
        if not (self._reconnects and (self._waits or self._link.was_open)):
            self._open_first()
        self._source, self._resumed = iter(messages), self._clock()
        try:
            while self._source is not None or self._window.oldest is not None:
                self._turn()
                for fate in self._window.settled():
                    yield fate
                    self._resumed = self._clock()
        except BaseException:
            if self._link.window is self._window:
                self._leave()
            raise
        if self._error is not None:
            raise self._error

    def _leave(self) -> None:
        """Begin anew: what a pass left in the middle would meet the tags of whatever comes next."""
        self._link.drop()
        self._link.window = Window()

    def _open_first(self) -> None:
        try:
            self._link.open(timeout_seconds=self._timeout_seconds)
        except (OSError, AMQPError) as error:
            raise not_opened(error) from error

    def _turn(self) -> None:
        """Write what there is to write, then take in what the broker has said."""
        try:
            if not self._link.is_open:
                self._link.open(timeout_seconds=self._left())
                self._pause = FIRST_PAUSE_SECONDS
            self._write()
            self._read()
        except _TooLate:
            self._end(self._why_too_late())
        except ChannelError as error:
            self._isolate(error)
        except BrokerRefused as error:
            before = f"{self._trouble.message}; then: " if self._trouble else ""
            self._end(error, if_unknown=PublishUncertain(before + error.message, hint=error.hint))
        except BrokerUnreachable as error:
            self._try_again(error)
        except (OSError, AMQPError) as error:
            self._try_again(_lost(error))

    def _write(self) -> None:
        """Write until the window is full, the messages are, or it is time to look at the answers."""
        until = self._clock() + (0 if self._is_overdue() else LOOK_SECONDS)
        with self._link.bounded(min(self._left(), SILENCE_SECONDS)):
            while not self._link.is_blocked and not self._is_isolating():
                # What was taken is written before the next look, however long taking it took.
                if not self._link.write_next() and (self._clock() >= until or not self._take()):
                    break
            self._link.flush()

    def _take(self) -> bool:
        """Take one more message in; return False when there is none, or no room for it."""
        if self._source is None or not self._window.has_room:
            return False
        try:
            message = next(self._source)
            encoded = self._link.encode(message)
        except StopIteration:
            self._source = None
        except Exception as error:  # noqa: BLE001 - raised again, after the fates of what was taken before
            self._source, self._error = None, error
        else:
            self._window.add(message, encoded, now=self._clock())
        self._resumed = self._clock()
        return self._source is not None

    def _read(self) -> None:
        """Take in the broker's answers; wait for one when there is nothing else to do."""
        before = self._window.oldest
        if before is None and not self._link.is_blocked:
            return
        can_go_on = self._source is not None and self._window.has_room and not self._is_overdue()
        if can_go_on and not self._link.is_blocked and not self._is_isolating():
            self._link.read(0)
            return
        self._link.read(min(self._left(), SILENCE_SECONDS))
        if self._is_silent() and not self._link.is_blocked:
            raise TimeoutError("it has gone silent")

    def _is_silent(self) -> bool:
        """Tell whether the node hangs and there is another one to go to."""
        has_others = len(self._link.target.broker.nodes) > 1
        return has_others and self._clock() - self._link.heard >= SILENCE_SECONDS

    def _is_isolating(self) -> bool:
        """Tell whether the message that was written last must be answered before the next is written."""
        if not self._one_by_one:
            return False
        following = self._window.next_to_write()
        if not self._window.pending and (following is None or not following.writes):
            self._one_by_one = False
        return self._window.pending > 0

    def _deadline(self) -> float:
        oldest = self._window.oldest
        since = oldest.since if oldest else self._resumed
        return max(since, self._link.answered) + self._timeout_seconds

    def _is_overdue(self) -> bool:
        """Tell whether the broker has answered nothing for too long, the caller's own time included."""
        return self._window.oldest is not None and self._clock() >= self._deadline()

    def _left(self) -> float:
        """Return how long the broker may take for its next answer."""
        left = max(self._deadline(), self._resumed + LEAST_SECONDS) - self._clock()
        if left <= 0:
            raise _TooLate
        return left

    def _try_again(self, trouble: BrokerUnreachable) -> None:
        """Let go of a lost connection and wait a little, or give up."""
        self._look_for_alarm()
        if self._link.is_blocked:
            self._end(_held_back())
            return
        self._trouble = trouble
        self._link.drop(next_node=True)
        following = self._window.next_to_write()
        if not self._reconnects or (following is not None and following.writes >= MOST_WRITES):
            self._end(trouble)
            return
        self._sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def _look_for_alarm(self) -> None:
        """Read what may say why a write took too long."""
        try:
            if self._link.is_open:
                self._link.read(0)
        except (OSError, AMQPError):
            pass  # that the connection is lost is known already

    def _isolate(self, error: ChannelError) -> None:
        """Find out which message made the broker close the channel: write those without an answer singly.

        Nothing was lost, so that a sender who does not connect again after a loss does it here.
        """
        if self._window.pending > 1:
            self._one_by_one = True
            self._window.forget_channel()
            self._link.drop()
            return
        refused: FleetError = publish_refused(self._link.target, error)
        if self._window.pending == 1:
            if not self._window.refuse_pending(error.reply_text):
                refused = PublishUncertain(refused.message, hint=refused.hint)
        elif self._reconnects:
            self._window.refuse_next(error.reply_text, closed_channel=True)
        self._end(refused)

    def _why_too_late(self) -> BrokerUnreachable:
        if self._link.is_blocked:
            return _held_back()
        if self._link.is_open or self._trouble is None:
            return BrokerUnreachable(
                "the broker did not confirm in time", hint="see `rabbitmq-diagnostics check_running`"
            )
        return self._trouble

    def _end(self, error: FleetError, *, if_unknown: PublishUncertain | None = None) -> None:
        """Take no more messages, settle those that have no answer, and keep what is to be raised."""
        self._source = None
        unknown = self._window.give_up(error.message)
        self._link.drop(next_node=True)
        if unknown and isinstance(error, BrokerUnreachable):
            if_unknown = PublishUncertain(error.message, hint=f"{error.hint}; {AGAIN}")
        # What the messages themselves have raised comes first: nobody else would tell.
        self._error = self._error or (if_unknown if unknown and if_unknown else error)


def publish_refused(target: Target, error: ChannelError) -> BrokerRefused:
    """Return what it means that the broker closed the channel."""
    hint = "run `fleet provision broker --check` to see what is missing or differs"
    if error.reply_code == PRECONDITION_FAILED and "message size" in error.reply_text:
        hint = "send where the data is instead of the data; the limit is `max_message_size` in rabbitmq.conf"
    return BrokerRefused(f"the broker refused {target.vhost}: {error.reply_text}", hint=hint)


def not_opened(error: OSError | AMQPError) -> BrokerUnreachable:
    """Return what it means that a connection went before anything was written to it."""
    return BrokerUnreachable(
        f"the connection went while it was opened, and nothing was sent: {error}",
        hint="check that the broker runs: `rabbitmq-diagnostics ping`",
    )


def _lost(error: OSError | AMQPError) -> BrokerUnreachable:
    return BrokerUnreachable(
        f"the connection went before the broker's confirm came: {error}",
        hint="check that the broker runs: `rabbitmq-diagnostics ping`",
    )


def _held_back() -> BrokerUnreachable:
    return BrokerUnreachable(
        "the broker holds publishers back (memory or disk alarm) and did not confirm in time",
        hint="see `rabbitmq-diagnostics alarms` on the broker",
    )
