"""A stand-in for a worker: it takes what arrives in a queue and writes an outcome to the journal."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import amqp

from fleet.journal import JournalWriter, Outcome
from tests.integration.sending.topology import Site


class Answering:
    """Answers every message of ``queue`` with the outcome that ``decide`` returns for it, or with nothing."""

    def __init__(
        self, site: Site, queue: str, decide: Callable[[str], str | None] = lambda _: "succeeded"
    ) -> None:
        self._site = site
        self._queue = queue
        self._decide = decide
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"answering {queue}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        site = self._site
        with site.connection() as connection, JournalWriter(site.fleet, "alpha", site.password) as writer:

            def answer(message: amqp.Message) -> None:
                how = self._decide(self._queue)
                if how is not None:
                    writer.put_nowait(self._outcome(message, how))

            connection.channel().basic_consume(self._queue, no_ack=True, callback=answer)
            while not self._stop.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

    def _outcome(self, message: amqp.Message, how: str) -> Outcome:
        now = time.time()
        return Outcome(
            task_id=message.headers["id"],
            task=message.headers["task"],
            queue=self._queue,
            host="alpha",
            worker="shared-a@alpha",
            outcome=how,
            started=now - 1,
            finished=now,
            runtime_seconds=1.0,
            wait_seconds=now - 1 - message.headers["fleet_sent"],
            error=None if how == "succeeded" else "OSError",
        )
