"""What does a finished copy say about itself?

The manifest is written last, so a directory without a valid one is not a snapshot.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

FORMAT = 1


class Outcome(StrEnum):
    """How complete a copy is."""

    COMPLETE = "complete"
    #: complete but for files that went away while they were read
    VANISHED = "complete-with-vanished"
    #: files are missing that were there: never ``latest``, never a reason to prune
    PARTIAL = "partial"


class ManifestInvalid(ValueError):
    """The text is not a manifest that this version understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCopy:
    """How the copy of one source went."""

    #: absolute path on the host
    path: str
    #: rsync's exit code
    exit_code: int
    #: regular files found
    files: int
    #: size of all files found
    bytes: int
    transferred_files: int
    transferred_bytes: int
    #: files deleted from a mirror
    deleted: int = 0
    #: files that went away while they were read
    vanished: int = 0
    #: rsync's messages, the first hundred, with unprintable characters as ``\\#ooo``
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A finished copy: a snapshot, or the state of a mirror."""

    #: ``snapshot`` or ``mirror``
    kind: str
    backup: str
    host: str
    #: name of the snapshot; ``mirror`` for a mirror
    snapshot: str
    task_id: str
    started: datetime
    finished: datetime
    outcome: Outcome
    sources: tuple[SourceCopy, ...]
    excludes: tuple[str, ...] = ()
    rsync_version: str = ""
    #: the snapshot whose equal files it shares; None where there was none
    linked_to: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether everything that was there to be copied is in it."""
        return self.outcome is not Outcome.PARTIAL

    @property
    def files(self) -> int:
        """Regular files in the copy."""
        return sum(source.files for source in self.sources)

    @property
    def bytes(self) -> int:
        """Size of all files in the copy."""
        return sum(source.bytes for source in self.sources)

    @property
    def vanished(self) -> int:
        """Files that went away while they were read."""
        return sum(source.vanished for source in self.sources)


def render(manifest: Manifest) -> str:
    """Return the JSON text of ``manifest``; times are RFC 3339."""
    record = {"format": FORMAT, **asdict(manifest), "files": manifest.files, "bytes": manifest.bytes}
    return json.dumps(record, indent=2, default=lambda value: value.isoformat()) + "\n"


def parse(text: str) -> Manifest:
    """Return the manifest in ``text``.

    Raises ManifestInvalid when it is not one, or one of another format.
    """
    try:
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise ManifestInvalid(f"format {record['format']!r}, this version reads {FORMAT}")
        return _manifest(record)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ManifestInvalid):
            raise
        raise ManifestInvalid(f"not a manifest: {error!r}") from error


def _manifest(record: Mapping[str, Any]) -> Manifest:
    return Manifest(
        kind=str(record["kind"]),
        backup=str(record["backup"]),
        host=str(record["host"]),
        snapshot=str(record["snapshot"]),
        task_id=str(record["task_id"]),
        started=_time(record["started"]),
        finished=_time(record["finished"]),
        outcome=Outcome(record["outcome"]),
        sources=tuple(_source(source) for source in record["sources"]),
        excludes=tuple(str(pattern) for pattern in record["excludes"]),
        rsync_version=str(record["rsync_version"]),
        linked_to=None if record["linked_to"] is None else str(record["linked_to"]),
    )


def _source(record: Mapping[str, Any]) -> SourceCopy:
    return SourceCopy(
        path=str(record["path"]),
        exit_code=int(record["exit_code"]),
        files=int(record["files"]),
        bytes=int(record["bytes"]),
        transferred_files=int(record["transferred_files"]),
        transferred_bytes=int(record["transferred_bytes"]),
        deleted=int(record["deleted"]),
        vanished=int(record["vanished"]),
        problems=tuple(str(problem) for problem in record["problems"]),
    )


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ManifestInvalid(f"time {text!r} has no zone")
    return moment
