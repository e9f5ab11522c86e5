"""How do outcomes get into the journal without ever holding up a worker?

``put_nowait`` appends to a bounded queue; a thread with a connection of its own publishes what is there,
confirmed, and sends again what was not. While the broker is away the queue fills, and what no longer fits is
counted in ``dropped``, as is a record that cannot be encoded. A record may stand in the journal twice, after
a connection that was lost in between.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self

from fleet.connection import Target
from fleet.errors import BrokerRefused, FleetError
from fleet.journal.record import Outcome, encode
from fleet.login import Login
from fleet.model import Fleet
from fleet.publish.channel import IDLE_SECONDS, ConfirmedChannel
from fleet.publish.message import WireMessage
from fleet.routes import JOURNAL_EXCHANGE
from fleet.secrets import Secret

#: records that wait for the broker; about 5 MB
CAPACITY = 10_000
#: records in one batch, and in one message: each costs the broker as much as a task's own does
BATCH = 200
PACK = 50
#: from one batch to the next, unless more than one waits: what a busy worker writes goes out together, for
#: a batch of one costs the event loop beside it about as much as a task does
GATHER_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CONFIRM_SECONDS = 10.0

_log = logging.getLogger(__name__)


class _Line(NamedTuple):
    """A record that is ready to be written."""

    task_id: str
    #: whole epoch seconds
    finished: int
    record: bytes


#: records that travel in one message
Pack = tuple[_Line, ...]


class JournalWriter:
    """Publishes outcomes of this host from a thread of its own; a forked child's copy does nothing."""

    def __init__(
        self,
        fleet: Fleet,
        host: str,
        password: Secret | None,
        *,
        user: str | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        login = Login(user=user or fleet.broker.user, password=password)
        target = Target(broker=fleet.broker, login=login, name=f"fleet journal {host}")
        self._channel = ConfirmedChannel(target)
        self._host = host
        self._capacity = capacity
        # Its put neither blocks nor takes a lock that a signal handler could meet again.
        self._waiting: SimpleQueue[Outcome | None] = SimpleQueue()
        #: nothing more comes, so there is nothing to wait for
        self._ending = threading.Event()
        #: time is up
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._trouble: str | None = None
        #: records that did not fit, could not be encoded, or were left when the writer closed
        self.dropped = 0
        #: records that the broker confirmed
        self.written = 0

    @property
    def pending(self) -> int:
        """Return how many records wait to be published."""
        return self._waiting.qsize()

    @property
    def is_held_back(self) -> bool:
        """Tell whether the broker reads nothing from publishers now: it is short of memory or disk."""
        return self._channel.is_blocked

    def start(self) -> None:
        """Begin to publish. Call it once, in the worker's main process."""
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="fleet-journal", daemon=True)
        self._thread.start()

    def put_nowait(self, outcome: Outcome) -> None:
        """Hand over ``outcome``; never blocks and never raises."""
        if os.getpid() != self._process:
            return
        if self._waiting.qsize() >= self._capacity:
            self.dropped += 1
            return
        self._waiting.put(outcome)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Publish what waits, for at most ``timeout_seconds``, and end the thread; the rest is dropped."""
        if self._thread is None or os.getpid() != self._process:
            return
        self._ending.set()
        self._waiting.put(None)
        self._thread.join(timeout_seconds)
        self._closing.set()
        # A thread inside a broker call ends when that call does; it is a daemon and holds nothing up.
        self._thread.join(0.2)
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        for batch in self._batches():
            until = time.monotonic() + GATHER_SECONDS
            self._publish(batch)
            if self._waiting.qsize() < BATCH:
                self._ending.wait(max(0.0, until - time.monotonic()))
        self._channel.close()

    def _batches(self) -> Iterator[list[Outcome]]:
        """Yield what waits, in order, until the writer closes; let go of an idle connection meanwhile."""
        while True:
            try:
                first = self._waiting.get(timeout=IDLE_SECONDS)
            except Empty:
                self._channel.close()
                continue
            batch, is_last = self._fill(first)
            if batch:
                yield batch
            if is_last:
                return

    def _fill(self, first: Outcome | None) -> tuple[list[Outcome], bool]:
        batch: list[Outcome] = []
        taken = first
        while taken is not None:
            batch.append(taken)
            if len(batch) == BATCH or self._waiting.empty():
                return batch, False
            taken = self._waiting.get()
        return batch, True

    def _publish(self, batch: list[Outcome]) -> None:
        """Publish ``batch`` again and again until the broker has it or the writer closes."""
        lines = self._lines(batch)
        left, pause = _packed(lines, PACK), FIRST_PAUSE_SECONDS
        while left:
            left = self._attempt(left)
            if left and self._closing.wait(pause):
                self.dropped += sum(map(len, left))
                return
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _lines(self, batch: list[Outcome]) -> list[_Line]:
        lines: list[_Line] = []
        for outcome in batch:
            try:
                lines.append(_Line(outcome.task_id, int(outcome.finished), encode(outcome)))
            except Exception as error:  # noqa: BLE001 - one record must not hold the rest, whatever is in it
                self._drop_record(error)
        return lines

    def _attempt(self, batch: list[Pack]) -> list[Pack]:
        """Publish ``batch`` once and return the packs that the broker does not have for certain."""
        if not self._connect():
            return batch
        wires = [_wire(pack, self._host) for pack in batch]
        try:
            refusals = self._channel.deliver(wires, timeout_seconds=CONFIRM_SECONDS)
        except FleetError as error:
            self._note(error)
            return batch
        except Exception as error:  # noqa: BLE001 - py-amqp raises struct.error and more for what it cannot write
            self._channel.drop()
            return self._sort_out(batch, error)
        left = [pack for pack, refusal in zip(batch, refusals, strict=True) if refusal]
        self.written += sum(map(len, batch)) - sum(map(len, left))
        self._note(next((BrokerRefused(refusal.reason) for refusal in refusals if refusal), None))
        return left

    def _connect(self) -> bool:
        """Connect apart from publishing: what breaks here is no record's fault."""
        try:
            self._channel.open()
        except Exception as error:  # noqa: BLE001 - whatever breaks inside a connection, the journal goes on
            self._channel.drop()
            self._note(
                error if isinstance(error, FleetError) else FleetError(f"{type(error).__name__}: {error}")
            )
            return False
        return True

    def _sort_out(self, batch: list[Pack], error: Exception) -> list[Pack]:
        """Publish one by one what failed together, so that only the record at fault is lost."""
        lone = _packed([line for pack in batch for line in pack], 1)
        if len(lone) == 1:
            self._drop_record(error)
            return []
        for index, pack in enumerate(lone):
            if left := self._attempt([pack]):
                # The broker is in trouble again; the rest would only wait for it one by one.
                return [*left, *lone[index + 1 :]]
        return []

    def _drop_record(self, error: Exception) -> None:
        self.dropped += 1
        # Not the error's text: it may quote the record.
        reason = type(error).__name__
        _log.warning("a record cannot be written: %s", reason, extra={"event": "journal_record_dropped"})

    def _note(self, error: FleetError | None) -> None:
        """Log when trouble begins, changes or ends; not at every attempt."""
        trouble = error.message if error else None
        if trouble and trouble != self._trouble:
            _log.warning("the journal is not written: %s", trouble, extra={"event": "journal_trouble"})
        elif self._trouble and not trouble:
            _log.warning("the journal is written again", extra={"event": "journal_recovered"})
        self._trouble = trouble


def _packed(lines: list[_Line], size: int) -> list[Pack]:
    return [tuple(lines[start : start + size]) for start in range(0, len(lines), size)]


def _wire(pack: Pack, host: str) -> WireMessage:
    first = pack[0]
    return WireMessage(
        exchange=JOURNAL_EXCHANGE,
        routing_key=host,
        body=b"\n".join(line.record for line in pack),
        headers={},
        properties={
            "correlation_id": first.task_id,
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
            "timestamp": first.finished,
        },
    )
