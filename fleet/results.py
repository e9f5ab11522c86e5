"""What became of these tasks, where results are kept in Redis instead of a journal?

Reads what Celery's Redis backend stores: one key per task, of the tasks that keep their result. It is looked
up a few times a second; nothing is written.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from fleet.connection import DEFAULT_TIMEOUTS
from fleet.errors import BrokerUnreachable, UsageError
from fleet.journal.record import Outcome
from fleet.model import Fleet
from fleet.secrets import resolve

KEY_PREFIX = "celery-task-meta-"
POLL_SECONDS = 0.2

#: Celery's final states → the journal's words
_FINAL = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked", "IGNORED": "ignored"}


class ResultReader:
    """Reads results from the fleet's Redis result backend."""

    def __init__(self, fleet: Fleet, *, environ: Mapping[str, str]) -> None:
        broker = fleet.broker
        if broker.result_backend is None:
            raise UsageError(
                "outcomes are kept in RabbitMQ's journal or in a result backend, and this fleet has neither",
                hint="set `result_backend` in `[broker]` of the fleet file, or send without waiting",
            )
        self._url = broker.result_backend
        self._password = resolve(broker.result_password, environ=environ) if broker.result_password else None
        self._client: Any = None

    def wait_for(self, task_ids: frozenset[str], *, timeout_seconds: float) -> dict[str, Outcome]:
        """Return the outcome of each task by id; those not known in time are left out.

        Raises BrokerUnreachable when the result backend does not answer.
        """
        deadline = time.monotonic() + timeout_seconds
        found: dict[str, Outcome] = {}
        while True:
            missing = sorted(task_ids - found.keys())
            for task_id, stored in zip(missing, self._read(missing), strict=True):
                outcome = outcome_of(task_id, stored)
                if outcome is not None:
                    found[task_id] = outcome
            left = deadline - time.monotonic()
            if task_ids <= found.keys() or left <= 0:
                return found
            time.sleep(min(POLL_SECONDS, left))

    def __enter__(self) -> Self:
        self._client = _connect(self._url, self._password.reveal() if self._password else None)
        try:
            self._read(["none"])
        except BrokerUnreachable:
            self._client.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def _read(self, task_ids: list[str]) -> list[bytes | None]:
        from redis.exceptions import RedisError

        try:
            return list(self._client.mget([KEY_PREFIX + task_id for task_id in task_ids]))
        except RedisError as error:
            raise BrokerUnreachable(
                f"the result backend {self._url} does not answer: {error}",
                hint="check `result_backend` and `result_password` in `[broker]` of the fleet file",
            ) from error


def outcome_of(task_id: str, stored: bytes | None) -> Outcome | None:
    """Return the outcome that Celery stored for a task, or None when it is not over."""
    try:
        fields = json.loads(stored or b"null")
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("status") not in _FINAL:
        return None
    result = fields.get("result")
    return Outcome(
        task_id=task_id,
        task=str(fields.get("name") or ""),
        queue=str(fields.get("queue") or ""),
        host="",
        worker=str(fields.get("worker") or ""),
        outcome=_FINAL[fields["status"]],
        started=None,
        finished=_epoch_seconds(fields.get("date_done")),
        runtime_seconds=None,
        wait_seconds=None,
        # The class only: what an error said may hold arguments.
        error=str(result.get("exc_type")) if isinstance(result, dict) and "exc_type" in result else None,
    )


def _epoch_seconds(text: object) -> float:
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(str(text)).timestamp()
    return time.time()


def _connect(url: str, password: str | None) -> Any:
    try:
        from redis import Redis
    except ImportError as error:
        raise UsageError(
            "results are kept in Redis, and its client library is not installed",
            hint="install `fleet[redis]`",
        ) from error
    timeouts = DEFAULT_TIMEOUTS
    return Redis.from_url(
        url,
        password=password,
        socket_connect_timeout=timeouts.connect_seconds,
        socket_timeout=timeouts.read_seconds,
    )
