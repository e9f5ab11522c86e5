"""How is the outbox's file opened, and what does SQLite's refusal mean?

Every commit is on disk before it returns (WAL, synchronous=FULL). A connection is opened for each piece of
work and closed again: it must not cross a fork, and an application may fork at any time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from fleet.errors import OutboxUnusable
from fleet.outbox.file import ensure_private_file, hold_lock, unusable
from fleet.outbox.record import DEFAULT_LIMITS
from fleet.outbox.schema import MIGRATIONS

Connection = sqlite3.Connection
Row = tuple[int, str, str, float, str, int, str | None, float | None]

BUSY_TIMEOUT_SECONDS = 10.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: what a full disk is called where SQLite makes the file that the processes share
_NO_ROOM_TO_SHARE = sqlite3.SQLITE_IOERR_SHMSIZE
_DAMAGE_HINT = (
    "it may still hold tasks: move it and its `-wal` file aside together, save what is left with "
    "`sqlite3 FILE .recover`, and send that again; a new outbox begins by itself"
)


class NoSpace(OutboxUnusable):
    """The disk is full."""


@contextmanager
def opened(path: Path, *, fleet: str) -> Iterator[Connection]:
    """Open the outbox of ``fleet`` at ``path``, made new where there is none.

    Raises OutboxUnusable, for whatever SQLite refuses inside, too.
    """
    ensure_private_file(path)
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            _migrate(connection, path, fleet=fleet)
            _require_fleet(connection, path, fleet)
            yield connection
    except sqlite3.DatabaseError as error:
        raise _refused(path, error) from error


@contextmanager
def looked_into(path: Path, *, fleet: str) -> Iterator[Connection]:
    """Open the outbox of ``fleet`` at ``path``, which is there, to read; a full disk is no hindrance.

    SQLite needs room even to read what other processes may change meanwhile. Without any, they change
    nothing: the file is read as it stands, if nothing stands beside it.
    Raises OutboxUnusable.
    """
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(opened(path, fleet=fleet))
        except NoSpace:
            if not _is_whole(path):
                raise
            connection = stack.enter_context(_frozen(path, fleet=fleet))
        yield connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Make what happens inside one change, which is on disk when this returns."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def forwarding_lock(path: Path) -> Path:
    """Return the file whose lock a process holds while it forwards or discards."""
    return path.with_name(f"{path.name}.forwarding")


def _is_whole(path: Path) -> bool:
    """Tell whether everything that was committed is in the file itself."""
    try:
        return not path.with_name(f"{path.name}-wal").lstat().st_size
    except FileNotFoundError:
        return True


@contextmanager
def _frozen(path: Path, *, fleet: str) -> Iterator[Connection]:
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            if _version(connection) != len(MIGRATIONS):
                raise unusable(path, "it is of another release, and there is no room to look into it")
            _require_fleet(connection, path, fleet)
            yield connection
    except sqlite3.DatabaseError as error:
        raise _refused(path, error) from error


def _migrate(connection: Connection, path: Path, *, fleet: str) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    values = {"fleet": fleet, "max_messages": DEFAULT_LIMITS.messages, "max_bytes": DEFAULT_LIMITS.bytes}
    # Changing the journal mode ignores the busy timeout, so one process at a time does it.
    with hold_lock(path.with_name(f"{path.name}.lock"), wait=True):
        version = _version(connection)
        if version > len(MIGRATIONS):
            reason = f"it has schema {version}, and this fleet knows {len(MIGRATIONS)}"
            raise unusable(path, reason, hint="a newer fleet wrote it: run that release on this machine")
        connection.execute("PRAGMA journal_mode=WAL")
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            with transaction(connection):
                for statement in statements:
                    connection.execute(statement, values)
                connection.execute(f"PRAGMA user_version={number}")


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _require_fleet(connection: Connection, path: Path, fleet: str) -> None:
    (found,) = connection.execute("SELECT fleet FROM box").fetchone()
    if found != fleet:
        reason = f"it keeps tasks of fleet `{found}`, not of `{fleet}`"
        raise unusable(path, reason, hint="use the fleet file that it belongs to, or another outbox")


def _refused(path: Path, error: sqlite3.DatabaseError) -> OutboxUnusable:
    exact = getattr(error, "sqlite_errorcode", 0)
    code = exact & 0xFF
    if code in _DAMAGED:
        return unusable(path, f"it is damaged ({error})", hint=_DAMAGE_HINT)
    if code == sqlite3.SQLITE_FULL or exact == _NO_ROOM_TO_SHARE:
        told = unusable(path, f"no space is left ({error})", hint=f"see `df -h -- {path.parent}`")
        return NoSpace(told.message, hint=told.hint)
    return unusable(path, str(error))
