"""Which tasks wait in the outbox, in which order, and is there room for one more?

A task is in the file, and on the disk, when ``keep`` returns; it leaves the file only after the broker has
confirmed it, or by an operator's word. A process that dies in between publishes it again under the same id.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fleet.errors import OutboxFull, UsageError
from fleet.outbox.database import Connection, Row, forwarding_lock, looked_into, opened, transaction
from fleet.outbox.file import FileState, hold_lock, require_private_file, settled_state
from fleet.outbox.record import Backlog, KeptTask, QueueBacklog, Volume, from_text, stand_in, to_text
from fleet.publish.message import TaskMessage

FILE_NAME = "outbox.sqlite3"

_TASK = "SELECT number, queue, task_id, first_sent, message, bytes, refusal, refused FROM message"
_QUEUES = """
SELECT queue, messages, sum_of_bytes, oldest, (SELECT refusal FROM message WHERE number = first)
FROM (
    SELECT queue, count(*) AS messages, sum(bytes) AS sum_of_bytes, min(first_sent) AS oldest,
           min(number) AS first
    FROM message GROUP BY queue
) ORDER BY first
"""


class Outbox:
    """The outbox of one fleet in one file; any number of processes of its owner may use it at once."""

    def __init__(self, path: Path | str, *, fleet: str) -> None:
        #: absolute, so that a process that changes its directory keeps its outbox
        self.path = Path(path).absolute()
        self._fleet = fleet
        #: what the file looked like when nothing waited in it
        self._empty: FileState | None = None

    @classmethod
    def in_state_dir(cls, state_dir: str, *, fleet: str) -> "Outbox":
        """Return the outbox of ``fleet`` in its usual place."""
        return cls(Path(state_dir, "outbox", FILE_NAME), fleet=fleet)

    def keep(self, messages: Sequence[TaskMessage], *, now: float) -> None:
        """Keep all of ``messages``, in order, or none of them; they are on disk when this returns.

        Raises OutboxFull, OutboxUnusable, or UsageError for one that could never be published.
        """
        stamped = [
            message if message.first_sent is not None else replace(message, first_sent=now)
            for message in messages
        ]
        texts = [to_text(message) for message in stamped]
        with opened(self.path, fleet=self._fleet) as connection, transaction(connection):
            self._require_room(connection, Volume(messages=len(texts), bytes=sum(map(len, texts))))
            connection.executemany(
                "INSERT INTO message (queue, task_id, message, bytes, first_sent) VALUES (?, ?, ?, ?, ?)",
                [
                    (message.queue.name, message.task_id, text, len(text), message.first_sent)
                    for message, text in zip(stamped, texts, strict=True)
                ],
            )

    def has_backlog(self, queue: str | None = None) -> bool:
        """Tell whether something waits for ``queue``, or at all. Raises OutboxUnusable."""
        state = settled_state(self.path)
        if state is not None and state == self._empty:
            return False
        with self._existing() as connection:
            if connection is None:
                return False
            where, values = ("WHERE queue = ?", (queue,)) if queue is not None else ("", ())
            row = connection.execute(f"SELECT 1 FROM message {where} LIMIT 1", values).fetchone()  # noqa: S608 - one of two constants
        if queue is None:
            # Seen before the file was read: what came in between has changed it.
            self._empty = state if row is None else None
        return row is not None

    def backlog(self) -> Backlog:
        """Return what waits, by queue. Raises OutboxUnusable."""
        with self._existing() as connection:
            if connection is None:
                return Backlog()
            connection.execute("BEGIN")
            limits, last_forward = _box(connection)
            rows = connection.execute(_QUEUES).fetchall()
        queues = (
            QueueBacklog(queue=queue, messages=messages, bytes=size, oldest=oldest, refusal=refusal)
            for queue, messages, size, oldest, refusal in rows
        )
        return Backlog(queues=tuple(queues), limits=limits, last_forward=last_forward)

    def tasks(self) -> tuple[KeptTask, ...]:
        """Return every task that waits, first come first. Raises OutboxUnusable."""
        with self._existing() as connection:
            if connection is None:
                return ()
            return tuple(_kept(row) for row in connection.execute(f"{_TASK} ORDER BY number"))

    def set_limits(self, limits: Volume) -> None:
        """Refuse what goes beyond ``limits`` from now on; what is there stays. Raises OutboxUnusable."""
        with opened(self.path, fleet=self._fleet) as connection, transaction(connection):
            connection.execute(
                "UPDATE box SET max_messages = ?, max_bytes = ?", (limits.messages, limits.bytes)
            )

    def discard(self, numbers: Collection[int]) -> None:
        """Forget the tasks of these numbers for good, all of them or none.

        Raises UsageError for a number that is not there, OutboxBusy while a process forwards (it may be
        publishing one of them), OutboxUnusable.
        """
        if not self.has_backlog():
            raise UsageError(f"outbox `{self.path}` keeps no tasks")
        with self.forwarding() as drain:
            drain.discard(numbers)

    @contextmanager
    def forwarding(self) -> "Iterator[Drain]":
        """Take tasks out, as the only process that does. Raises OutboxBusy or OutboxUnusable."""
        with (
            opened(self.path, fleet=self._fleet) as connection,
            hold_lock(forwarding_lock(self.path), wait=False),
        ):
            yield Drain(connection)

    @contextmanager
    def _existing(self) -> Iterator[Connection | None]:
        """Open the file, or give None where there is none: looking creates nothing."""
        if not require_private_file(self.path):
            yield None
            return
        with looked_into(self.path, fleet=self._fleet) as connection:
            yield connection

    def _require_room(self, connection: Connection, added: Volume) -> None:
        limits, _ = _box(connection)
        row = connection.execute("SELECT messages, bytes FROM box").fetchone()
        held = Volume(messages=row[0], bytes=row[1])
        if (held + added).fits(limits):
            return
        raise OutboxFull(
            f"outbox `{self.path}` is full: it keeps {held.messages} of {limits.messages} tasks and "
            f"{held.bytes} of {limits.bytes} bytes, and has no room for {added.messages} more "
            f"({added.bytes} bytes)",
            hint="run `fleet outbox forward` when the broker is back, or raise `fleet outbox limit`",
        )


class Drain:
    """Takes tasks out of an outbox; exists only while its process holds the outbox's lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, *, now: float) -> None:
        """Write the moment down, which shows before anything is published that the file can be written.

        Otherwise a full disk would keep a task in the file after each time that it was published.
        """
        self._connection.execute("UPDATE box SET last_forward = ?", (now,))

    def queues(self) -> tuple[str, ...]:
        """Return the queues that something waits for, in the order of their first tasks."""
        rows = self._connection.execute("SELECT queue FROM message GROUP BY queue ORDER BY min(number)")
        return tuple(queue for (queue,) in rows)

    def first(self, queue: str) -> KeptTask | None:
        """Return the task of ``queue`` whose turn it is, or None."""
        row = self._connection.execute(
            f"{_TASK} WHERE queue = ? ORDER BY number LIMIT 1", (queue,)
        ).fetchone()
        return None if row is None else _kept(row)

    def remove(self, task: KeptTask) -> None:
        """Forget a task that the broker has confirmed."""
        self._connection.execute("DELETE FROM message WHERE number = ?", (task.number,))

    def hold(self, task: KeptTask, reason: str, *, now: float) -> None:
        """Note why the broker would not have the task, which keeps its place."""
        self._connection.execute(
            "UPDATE message SET refusal = ?, refused = ? WHERE number = ?", (reason, now, task.number)
        )

    def discard(self, numbers: Collection[int]) -> None:
        """Forget the tasks of these numbers, all of them or none; raises UsageError for an unknown one."""
        with transaction(self._connection):
            for number in sorted(set(numbers)):
                gone = self._connection.execute("DELETE FROM message WHERE number = ?", (number,)).rowcount
                if not gone:
                    raise UsageError(
                        f"the outbox has no task number {number}; nothing was discarded",
                        hint="see the numbers in `fleet outbox list`",
                    )


def _box(connection: Connection) -> tuple[Volume, float | None]:
    row = connection.execute("SELECT max_messages, max_bytes, last_forward FROM box").fetchone()
    return Volume(messages=row[0], bytes=row[1]), row[2]


def _kept(row: Row) -> KeptTask:
    number, queue, task_id, first_sent, text, size, refusal, refused = row
    unreadable = None
    try:
        message = from_text(text)
    except (ValueError, TypeError, KeyError) as error:
        unreadable = f"it cannot be read: {error}; a newer fleet may have kept it"
        message = stand_in(queue=queue, task_id=task_id, first_sent=first_sent)
    return KeptTask(
        number=number,
        message=message,
        bytes=size,
        refusal=unreadable or refusal,
        refused=refused,
        unreadable=unreadable,
    )
