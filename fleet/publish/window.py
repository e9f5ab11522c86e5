"""Which messages wait for the broker's answer, and what is known of each?

Pure: what was written and what came back in, fates out, in the order in which the messages were added.
Delivery tags belong to one connection; messages that outlive it are written again and get new ones.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fleet.publish.fate import Fate, FateKind
from fleet.publish.message import WireMessage

#: messages that wait for an answer at a time
MOST_MESSAGES = 1000
#: bytes of their bodies at a time; a single larger one still passes, alone
MOST_BYTES = 8 * 2**20


@dataclass(slots=True, kw_only=True)
class Flight:
    """One message between its sender and the broker's answer."""

    message: WireMessage
    #: the message as it is written, for whoever writes it
    encoded: Any
    #: monotonic seconds
    since: float
    writes: int = 0
    #: it was written on a connection that was lost, and may be queued whatever is said of a later copy
    is_lost: bool = False
    #: why the broker sent it back; the confirm that follows only says that it dealt with it
    returned: str | None = None
    fate: Fate | None = None


@dataclass(slots=True)
class Window:
    """The messages under way, bounded in number and size."""

    most_messages: int = MOST_MESSAGES
    most_bytes: int = MOST_BYTES
    #: every message that was not yet reported, in the order of adding
    _flights: deque[Flight] = field(default_factory=deque)
    #: those of them to be written next, in order
    _waiting: deque[Flight] = field(default_factory=deque)
    #: delivery tag → written message without an answer, in the order of writing
    _pending: dict[int, Flight] = field(default_factory=dict)
    #: message id → the pending one; a return names its message only by this
    _by_id: dict[str, Flight] = field(default_factory=dict)
    _next_tag: int = 1
    _bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether every message that was added was reported."""
        return not self._flights

    @property
    def has_room(self) -> bool:
        """Tell whether another message may be added."""
        return not self._flights or (
            len(self._flights) < self.most_messages and self._bytes < self.most_bytes
        )

    @property
    def pending(self) -> int:
        """How many messages were written on this connection and have no answer."""
        return len(self._pending)

    @property
    def oldest(self) -> Flight | None:
        """The message that has been without an answer for longest."""
        return next((flight for flight in self._flights if flight.fate is None), None)

    def add(self, message: WireMessage, encoded: object, *, now: float) -> None:
        """Take ``message`` in; it is to be written after all that were added before."""
        flight = Flight(message=message, encoded=encoded, since=now)
        self._flights.append(flight)
        self._waiting.append(flight)
        self._bytes += len(message.body)

    def next_to_write(self) -> Flight | None:
        """Return what is to be written next.

        None when there is nothing, or while a message of the same id is pending: a return could mean either.
        """
        if not self._waiting or self._waiting[0].message.message_id in self._by_id:
            return None
        return self._waiting[0]

    def note_write(self) -> None:
        """Note that the next message is being written, in part at least."""
        flight = self._waiting.popleft()
        flight.writes += 1
        self._pending[self._next_tag] = flight
        self._by_id[flight.message.message_id] = flight
        self._next_tag += 1

    def refuse_next(
        self, reason: str, *, kind: FateKind = FateKind.REFUSED, closed_channel: bool = False
    ) -> None:
        """Settle the next message without writing it, if there is one."""
        if self._waiting:
            flight = self._waiting.popleft()
            if flight.writes:
                flight.fate = _in_doubt(flight, reason)
                return
            flight.fate = Fate(kind=kind, reason=reason, writes=0, closed_channel=closed_channel)

    def confirm(self, tag: int, *, multiple: bool) -> int:
        """Note that the broker has dealt with ``tag``, or with all up to it; return how many these are."""
        return self._settle(tag, FateKind.ACCEPTED, "", multiple=multiple)

    def reject(self, tag: int, *, multiple: bool) -> int:
        """Note that the broker would not have ``tag``, or all up to it; return how many these are."""
        return self._settle(tag, FateKind.REFUSED, "negative confirm", multiple=multiple)

    def note_return(self, message_id: str, reason: str) -> None:
        """Note that the broker found no queue for a message; its confirm is still to come."""
        if message_id in self._by_id:
            self._by_id[message_id].returned = reason

    def refuse_pending(self, reason: str) -> bool:
        """Settle the one pending message as refused, by a channel that the broker has closed over it.

        Return False where a copy may be queued from before, on a connection that was lost.
        """
        ((_, flight),) = self._pending.items()
        # A channel that it closed before, among others, is no doubt: what closes a channel is not queued.
        fate = Fate(kind=FateKind.REFUSED, reason=reason, writes=flight.writes, closed_channel=True)
        flight.fate = _in_doubt(flight, reason) if flight.is_lost else fate
        self._pending.clear()
        self._by_id.clear()
        return not flight.is_lost

    def forget_connection(self) -> None:
        """Have every message without an answer written again: its connection is gone, and its tag with it."""
        for flight in self._pending.values():
            flight.is_lost = True
        self.forget_channel()

    def forget_channel(self) -> None:
        """Do the same where the broker has closed the channel over one of them."""
        for flight in reversed(self._pending.values()):
            flight.returned = None
            self._waiting.appendleft(flight)
        self._pending.clear()
        self._by_id.clear()
        self._next_tag = 1

    def clear(self) -> None:
        """Forget every message: they are another process's."""
        self._flights.clear()
        self._waiting.clear()
        self._pending.clear()
        self._by_id.clear()
        self._next_tag, self._bytes = 1, 0

    def give_up(self, reason: str) -> int:
        """Settle all that have no answer: unknown if written, else unsent; return how many are unknown."""
        self.forget_connection()
        unknown = 0
        for flight in self._waiting:
            kind = FateKind.UNKNOWN if flight.writes else FateKind.UNSENT
            unknown += kind is FateKind.UNKNOWN
            flight.fate = Fate(kind=kind, reason=reason, writes=flight.writes)
        self._waiting.clear()
        return unknown

    def settled(self) -> Iterator[Fate]:
        """Yield, and forget, the fate of each message up to the first that has none."""
        while self._flights and (fate := self._flights[0].fate) is not None:
            self._bytes -= len(self._flights.popleft().message.body)
            yield fate

    def _settle(self, tag: int, kind: FateKind, reason: str, *, multiple: bool) -> int:
        if not multiple:
            tags = [tag] if tag in self._pending else []
        else:
            tags = []
            for known in self._pending:
                if known > tag:
                    break
                tags.append(known)
        for known in tags:
            flight = self._pending.pop(known)
            del self._by_id[flight.message.message_id]
            flight.fate = _fate(flight, kind, reason)
        return len(tags)


#: the fate of almost every message
_ACCEPTED = Fate(kind=FateKind.ACCEPTED)


def _fate(flight: Flight, kind: FateKind, reason: str) -> Fate:
    if flight.returned is not None:
        kind, reason = FateKind.UNROUTABLE, flight.returned
    if kind is FateKind.ACCEPTED and flight.writes == 1:
        return _ACCEPTED
    if kind is not FateKind.ACCEPTED and flight.writes > 1:
        return _in_doubt(flight, reason)
    return Fate(kind=kind, reason=reason, writes=flight.writes)


def _in_doubt(flight: Flight, reason: str) -> Fate:
    """Return the fate of a message whose last copy is not queued, and whose first one may be.

    The first one may even be what the last was refused for: it has filled the queue.
    """
    why = f"refused when it was written again: {reason}"
    return Fate(kind=FateKind.UNKNOWN, reason=why, writes=flight.writes)
