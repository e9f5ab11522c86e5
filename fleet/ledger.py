"""What ran on this host, and how did it end? A small SQLite file that every process of the host shares.

Each call opens the file, does one thing and closes it again: a connection must not cross a fork, and worker
children are forked. The file is not a queue and not the history of the fleet; it answers "when did this last
end well" for the metrics, and it survives restarts.
"""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from fleet.errors import LedgerUnreadable

log = logging.getLogger(__name__)

FILE_NAME = "ledger.sqlite3"
#: records kept for one (kind, name, host); the newest good one stays beyond that
KEPT_RECORDS = 200
BUSY_TIMEOUT_SECONDS = 10.0
DETAIL_LIMIT = 500

#: one script per schema version; ``PRAGMA user_version`` counts how many have run
_MIGRATIONS = (
    """
    CREATE TABLE job (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        task_id TEXT NOT NULL,
        started REAL NOT NULL,
        finished REAL NOT NULL,
        ok INTEGER NOT NULL,
        files INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        detail TEXT NOT NULL,
        UNIQUE (kind, name, host, task_id)
    ) STRICT;
    CREATE INDEX job_newest ON job (kind, name, host, finished);
    """,
)

JobKind = Literal["backup", "mirror", "restore", "url_check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One piece of work that ended on this host."""

    kind: JobKind
    #: name in the fleet file
    name: str
    host: str
    task_id: str
    #: seconds since the epoch
    started: float
    #: seconds since the epoch
    finished: float
    ok: bool
    #: files in the resulting copy; 0 where there is none
    files: int = 0
    #: size of the resulting copy; 0 where there is none
    bytes: int = 0
    #: one line for an operator; cut at 500 characters
    detail: str = ""


_COLUMNS = tuple(field.name for field in fields(JobRecord))
_UPSERT = (
    f"INSERT INTO job ({', '.join(_COLUMNS)}) VALUES ({', '.join(':' + name for name in _COLUMNS)}) "  # noqa: S608 - names of our own fields
    "ON CONFLICT (kind, name, host, task_id) DO UPDATE SET started=excluded.started, "
    "finished=excluded.finished, ok=excluded.ok, files=excluded.files, bytes=excluded.bytes, "
    "detail=excluded.detail"
)
_PRUNE = """
DELETE FROM job WHERE kind = :kind AND name = :name AND host = :host
  AND id NOT IN (SELECT id FROM job WHERE kind = :kind AND name = :name AND host = :host
                 ORDER BY finished DESC, id DESC LIMIT :kept)
  AND id NOT IN (SELECT id FROM job WHERE kind = :kind AND name = :name AND host = :host AND ok
                 ORDER BY finished DESC, id DESC LIMIT 1)
"""


class Ledger:
    """The host's record of finished work.

    Any number of processes may read and write. A file that SQLite cannot read is put aside by the next writer
    (the truth about backups is in their manifests), and readers raise LedgerUnreadable until then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def in_state_dir(cls, state_dir: str) -> "Ledger":
        """Return the ledger of the fleet whose host-local state lives in ``state_dir``."""
        return cls(Path(state_dir, FILE_NAME))

    def record(self, record: JobRecord) -> None:
        """Store ``record`` durably; a later record of the same task replaces the earlier one.

        Raises LedgerUnreadable when the file cannot be opened or written.
        """
        try:
            self._write(record)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise self._unreadable(error) from error
            self._quarantine()
            try:
                self._write(record)
            except sqlite3.DatabaseError as again:
                raise self._unreadable(again) from again

    def latest(self) -> list[JobRecord]:
        """Return the record that finished last for each (kind, name, host).

        Raises LedgerUnreadable when the file is there but cannot be read.
        """
        return self._newest("")

    def latest_good(self) -> list[JobRecord]:
        """Return, for each (kind, name, host), the record that finished last among those that ended well.

        Raises LedgerUnreadable when the file is there but cannot be read.
        """
        return self._newest("WHERE ok")

    def recent(self, *, limit: int = 50) -> list[JobRecord]:
        """Return the newest ``limit`` records of every kind, newest first.

        Raises LedgerUnreadable when the file is there but cannot be read.
        """
        return self._read(
            f"SELECT {', '.join(_COLUMNS)} FROM job ORDER BY finished DESC, id DESC LIMIT ?",  # noqa: S608 - names of our own fields
            (limit,),
        )

    def _newest(self, condition: str) -> list[JobRecord]:
        names = ", ".join(_COLUMNS)
        return self._read(
            f"SELECT {names} FROM (SELECT {names}, row_number() OVER "  # noqa: S608 - names of our own fields
            "(PARTITION BY kind, name, host ORDER BY finished DESC, id DESC) AS place "
            f"FROM job {condition}) WHERE place = 1 ORDER BY kind, name, host",
            (),
        )

    def _read(self, query: str, parameters: tuple[int, ...]) -> list[JobRecord]:
        if not self._path.exists():
            return []
        try:
            with self._connection() as connection:
                rows = connection.execute(query, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        return [_record(row) for row in rows]

    def _write(self, record: JobRecord) -> None:
        values = {name: getattr(record, name) for name in _COLUMNS}
        values["detail"] = record.detail[:DETAIL_LIMIT]
        with self._connection() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_UPSERT, values)
            connection.execute(_PRUNE, {**values, "kept": KEPT_RECORDS})

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._create_file()
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        with closing(connection):
            # FULL: a record is on disk before the message that caused it is acknowledged.
            connection.execute("PRAGMA synchronous=FULL")
            self._migrate(connection)
            yield connection

    def _create_file(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the mode of the file itself.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise self._unreadable(error) from error

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == len(_MIGRATIONS):
            return
        # Changing the journal mode ignores the busy timeout, so one process at a time does it.
        with self._alone():
            connection.execute("PRAGMA journal_mode=WAL")
            version = _version(connection)
            if version > len(_MIGRATIONS):
                raise LedgerUnreadable(
                    f"ledger `{self._path}` has schema {version}, this fleet knows {len(_MIGRATIONS)}",
                    hint="a newer fleet wrote it: run that release on this host",
                )
            for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
                connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            lock = os.open(
                self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _quarantine(self) -> None:
        with self._alone():
            if not self._is_broken():
                return
            target = _free_name(self._path.with_name(f"{self._path.name}.corrupt"))
            self._path.rename(target)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        log.warning("ledger %s was corrupt; it is now %s, and a new one begins", self._path, target)

    def _is_broken(self) -> bool:
        """Look again under the lock: another process may have put the broken file aside already."""
        if not self._path.exists():
            return False
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except sqlite3.DatabaseError as error:
            return _is_corrupt(error)

    def _unreadable(self, error: Exception) -> LedgerUnreadable:
        return LedgerUnreadable(
            f"ledger `{self._path}` cannot be used: {error}",
            hint=f"check `ls -ld {self._path.parent} {self._path}`; the next task puts a corrupt file aside",
        )


def _record(row: tuple[object, ...]) -> JobRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["ok"] = bool(values["ok"])
    return JobRecord(**values)  # type: ignore[arg-type]  # the table is STRICT and made from these fields


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _free_name(path: Path) -> Path:
    candidates = (path if number == 0 else path.with_name(f"{path.name}-{number}") for number in range(1000))
    return next((candidate for candidate in candidates if not candidate.exists()), path)
