"""What does the journal say about a finished task? Never its arguments, addresses or output.

Pure: a record to bytes and back. A message of the journal holds one record a line, for a busy worker writes
many at a time. Readers take what they know of a newer writer's record.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

VERSION = 1

SUCCEEDED = "succeeded"
#: what an operator did with a dead letter: a part of the task's history, and no run
REPLAYED = "replayed"
DISCARDED = "discarded"
#: outcomes of a message that no task ran for
NOT_RUN = (REPLAYED, DISCARDED, "refused", "expired", "revoked")
#: outcomes after which the broker delivers the message again, or dead-letters it at the delivery limit
UNFINISHED = ("retried", "requeued", "lost", REPLAYED)
#: longer texts of errors are cut
LONGEST_MESSAGE = 300
#: no time is further from 1970 than the year 3000 (seconds): beyond it, dates can no longer be counted with
FURTHEST_SECONDS = 32_503_680_000


class UnreadableRecord(ValueError):
    """A message in the journal is no record; the message says what is wrong with it."""


class Outcome(NamedTuple):
    """How one run of one task ended."""

    task_id: str
    #: name of the task
    task: str
    #: name of the queue in the broker
    queue: str
    #: the host it ran on
    host: str
    #: the worker that ran it, as Celery's node name (``shared-a@alpha``)
    worker: str
    #: how it ended: ``succeeded``, ``failed``, ``retried``, … (the label ``outcome`` of the metrics)
    outcome: str
    #: when the run began (epoch seconds); None when it never did
    started: float | None
    #: when it ended (epoch seconds)
    finished: float
    #: how long it ran; None when it never began
    runtime_seconds: float | None
    #: how long it waited in its queue; None when the message has no stamp
    wait_seconds: float | None
    #: 1 for the first run, one more for each retry
    attempt: int = 1
    #: class of the error that ended it
    error: str | None = None
    #: what the error said, where the task allows it to be told; at most 300 characters
    message: str | None = None

    @property
    def is_final(self) -> bool:
        """Tell whether the task is over: it neither waits for a retry nor for another delivery."""
        return self.outcome not in UNFINISHED

    @property
    def is_run(self) -> bool:
        """Tell whether the task ran, well or not."""
        return self.outcome not in NOT_RUN

    @property
    def succeeded(self) -> bool:
        """Tell whether the task did what it should."""
        return self.outcome == SUCCEEDED


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(outcome: Outcome) -> bytes:
    """Return ``outcome`` as a line of the journal: JSON with its version, without what is not known."""
    record: dict[str, object] = {"v": VERSION}
    for name, value in zip(Outcome._fields, outcome, strict=True):
        if value is not None:
            record[name] = value
    if outcome.message is not None:
        record["message"] = outcome.message[:LONGEST_MESSAGE]
    return _to_json(record).encode()


def decode_all(body: bytes | str) -> Iterator[Outcome]:
    """Yield the records of a message; what is none is left out, for a reader has nobody to tell."""
    for line in body.splitlines():
        try:
            yield decode(line)
        except UnreadableRecord:
            continue


def decode(body: bytes | str) -> Outcome:
    """Return the record that ``body`` holds. Raises UnreadableRecord when it holds none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableRecord(f"no JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("v"), int):
        raise UnreadableRecord("not an object with a version")
    return Outcome(
        **{name: _text(fields, name) for name in ("task_id", "task", "queue", "host", "worker", "outcome")},
        started=_seconds(fields, "started"),
        finished=_required_seconds(fields, "finished"),
        runtime_seconds=_seconds(fields, "runtime_seconds"),
        wait_seconds=_seconds(fields, "wait_seconds"),
        attempt=int(_seconds(fields, "attempt") or 1),
        error=_optional_text(fields, "error"),
        message=_optional_text(fields, "message"),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = _optional_text(fields, name)
    if value is None:
        raise UnreadableRecord(f"`{name}` is missing")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise UnreadableRecord(f"`{name}` is no text")


def _required_seconds(fields: dict[str, Any], name: str) -> float:
    value = _seconds(fields, name)
    if value is None:
        raise UnreadableRecord(f"`{name}` is missing")
    return value


def _seconds(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableRecord(f"`{name}` is no number")
    # Neither is what JSON does not know, and Python reads all the same: NaN and infinity.
    if not -FURTHEST_SECONDS <= value <= FURTHEST_SECONDS:
        raise UnreadableRecord(f"`{name}` is out of range")
    return float(value)
