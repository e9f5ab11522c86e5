"""What became of these tasks? Read from the journal, beginning before they were sent.

::

    with JournalReader(fleet, login) as journal:  # its position is fixed here
        publisher.send(message)
        outcomes = journal.wait_for({message.task_id}, timeout_seconds=60)
"""

import time
from collections.abc import Iterable, Iterator, Set
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from fleet.connection import Target
from fleet.errors import BrokerUnreachable
from fleet.journal.record import Outcome, decode_all
from fleet.journal.stream import Entry, Offset, StreamConsumer
from fleet.login import Login
from fleet.model import Fleet

#: the clocks of broker and reader differ by less
CLOCK_MARGIN_SECONDS = 60.0
RECONNECT_PAUSE_SECONDS = 1.0
#: how long the end of the stream is listened to before it counts as the end
_FIRST_WAIT_SECONDS = 2.0
_SILENCE_SECONDS = 0.3


class JournalReader:
    """Reads what is written to the journal from ``open`` on, or from ``since`` (epoch seconds) on."""

    def __init__(self, fleet: Fleet, login: Login, *, since: float | None = None) -> None:
        self._target = _target(fleet, login)
        self._offset: Offset = "next" if since is None else _moment(since)
        self._consumer: StreamConsumer | None = None

    def open(self) -> None:
        """Fix the position; raises BrokerUnreachable or BrokerRefused."""
        before = time.time()
        self._consumer = StreamConsumer(self._target, self._offset)
        if self._offset == "next":
            # After a lost connection, `next` would leave out what was written meanwhile.
            self._offset = _moment(before)

    def wait_for(self, task_ids: Set[str], *, timeout_seconds: float) -> dict[str, Outcome]:
        """Return the final outcome of each of ``task_ids`` by id; those not known in time are left out.

        A lost connection is opened again. Raises BrokerRefused when the journal may not be read.
        """
        deadline = time.monotonic() + timeout_seconds
        found: dict[str, Outcome] = {}
        while not task_ids <= found.keys() and (left := deadline - time.monotonic()) > 0:
            for outcome in self._read(left):
                if outcome.task_id in task_ids and outcome.is_final:
                    found.setdefault(outcome.task_id, outcome)
        return found

    def close(self) -> None:
        """Close the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, timeout_seconds: float) -> Iterator[Outcome]:
        try:
            if self._consumer is None:
                self.open()
            assert self._consumer is not None
            entries = self._consumer.entries(timeout_seconds)
        except BrokerUnreachable:
            self._consumer = None
            time.sleep(min(RECONNECT_PAUSE_SECONDS, timeout_seconds))
            return
        if entries:
            self._offset = entries[-1].offset + 1
        yield from _outcomes(entries)


def tail(fleet: Fleet, login: Login, *, count: int) -> tuple[Outcome, ...]:
    """Return the newest ``count`` records of the journal, oldest first.

    Raises BrokerUnreachable or BrokerRefused.
    """
    target = _target(fleet, login)
    entries = _read_to_silence(target, "last")
    newest = tuple(_outcomes(entries))
    if entries and len(newest) < count:
        # A message holds at least one record.
        end = entries[-1].offset
        newest = tuple(_outcomes(_read_to_silence(target, max(0, end - count + 1), end=end)))
    return newest[-count:] if count else ()


def _read_to_silence(target: Target, offset: Offset, *, end: int | None = None) -> list[Entry]:
    """Read from ``offset`` to ``end``, or until nothing more comes: a stream does not say where it ends."""
    found: list[Entry] = []
    with closing(StreamConsumer(target, offset)) as consumer:
        while arrived := consumer.entries(_SILENCE_SECONDS if found else _FIRST_WAIT_SECONDS):
            found.extend(entry for entry in arrived if end is None or entry.offset <= end)
            if end is not None and arrived[-1].offset >= end:
                break
    return found


def _outcomes(entries: Iterable[Entry]) -> Iterator[Outcome]:
    for entry in entries:
        yield from decode_all(entry.body)


def _moment(seconds: float) -> Offset:
    """Return the stream position of a moment, early enough for clocks that differ."""
    if seconds <= CLOCK_MARGIN_SECONDS:
        return "first"
    # py-amqp sends a naive moment as UTC.
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) - timedelta(seconds=CLOCK_MARGIN_SECONDS)


def _target(fleet: Fleet, login: Login) -> Target:
    return Target(broker=fleet.broker, login=login, name="fleet journal reader", heartbeat_seconds=30)
