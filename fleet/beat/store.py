"""Where does beat keep what it has done, so that a restart neither repeats nor forgets a run?

One JSON file in the host's state directory, replaced as a whole and flushed to disk. A lock beside it keeps
a second beat of this host out.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from fleet.beat.decide import Mark
from fleet.errors import FleetError, UsageError

VERSION = 1


class BeatStore:
    """The marks of one fleet's schedule on this host, locked while the store is open."""

    def __init__(self, state_dir: str) -> None:
        self._directory = Path(state_dir)
        self._path = self._directory / "beat.json"
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Take the lock.

        Raises UsageError when another beat of this host has it, FleetError when the directory cannot be
        written.
        """
        path = self._directory / "beat.lock"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise UsageError(
                f"another beat of this fleet runs on this host (process {holder}, lock {path})",
                hint="one beat per fleet is enough; two would only race for the same runs",
            ) from error
        try:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        except OSError as error:
            raise self._unusable(error) from error
        self._lock = lock

    def load(self) -> dict[str, Mark]:
        """Return the marks that were saved last; none at the first start.

        Raises FleetError when the file is damaged: guessing would repeat or skip runs.
        """
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
            return {key: _mark(mark) for key, mark in fields["entries"].items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FleetError(
                f"{self._path} is damaged: {error}",
                hint=f"move it away with `mv -- {self._path} {self._path}.damaged`: every entry begins anew",
            ) from error

    def save(self, marks: Mapping[str, Mark]) -> None:
        """Replace the file, durably. Raises FleetError when it cannot be written."""
        text = json.dumps({"v": VERSION, "entries": {key: asdict(mark) for key, mark in marks.items()}})
        try:
            _replace(self._path, text + "\n")
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unusable(self, error: OSError) -> FleetError:
        return FleetError(
            f"beat cannot keep its state in {self._directory}: {error.strerror}",
            hint="give it a writable `state_dir` in `[fleet]` of the fleet file",
        )


def _replace(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, flush it, put it in place: a crash leaves the old or the new file."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _mark(fields: Any) -> Mark:
    return Mark(
        timing=str(fields["timing"]),
        settled=int(fields["settled"]),
        sent=_moment(fields["sent"]),
        missed=_moment(fields["missed"]),
    )


def _moment(value: Any) -> float | None:
    return None if value is None else float(value)
