"""How is the outbox's file opened, and what does SQLite's refusal mean?

Every commit is on disk before it returns (WAL, synchronous=FULL). A connection is opened for each piece of
work and closed again: it must not cross a fork, and an application may fork at any time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fleet.errors import OutboxUnusable
from fleet.outbox.file import ensure_private_file, hold_lock, unusable
from fleet.outbox.record import DEFAULT_LIMITS
from fleet.outbox.schema import MIGRATIONS

Connection = sqlite3.Connection
Row = tuple[int, str, int, str | None, float | None]

BUSY_TIMEOUT_SECONDS = 10.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DAMAGE_HINT = (
    "it may still hold tasks: move it and its `-wal` file aside together, save what is left with "
    "`sqlite3 FILE .recover`, and send that again; a new outbox begins by itself"
)


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
def transaction(connection: Connection) -> Iterator[None]:
    """Make what happens inside one change, which is on disk when this returns."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def forwarding_lock(path: Path) -> Path:
    """Return the file whose lock a process holds while it forwards or discards."""
    return path.with_name(f"{path.name}.forwarding")


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
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return unusable(path, f"it is damaged ({error})", hint=_DAMAGE_HINT)
    if code == sqlite3.SQLITE_FULL:
        return unusable(path, f"no space is left ({error})", hint=f"see `df -h -- {path.parent}`")
    return unusable(path, str(error))
