"""When does a worker make its metrics? With the first message or the first scrape, whichever comes first.

Prometheus's client takes as long to import as a worker to connect. Who waits for the worker to be ready need
not wait for that, and when the first message is there, its child process is still coming up.
"""

import os
from collections.abc import Iterable
from threading import RLock
from typing import TYPE_CHECKING, Any

from fleet.worker.application import FleetCelery
from fleet.worker.health import WorkerHealth

if TYPE_CHECKING:
    from fleet.metrics.tasks import TaskMetrics
    from fleet.worker.export import Exported


class LateMetrics:
    """The metrics of one worker, made when first asked for, by its event loop or in a scrape's thread."""

    def __init__(self, app: FleetCelery, health: WorkerHealth) -> None:
        self._app = app
        self._health = health
        self._made: Exported | None = None
        self._lock = lock = RLock()
        # No child is forked while a scrape's thread imports: modules would be locked in it for ever.
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

    def tasks(self) -> "TaskMetrics":
        """Return what counts tasks."""
        return (self._made or self._make()).tasks

    def exposition(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a scrape, as a WSGI application."""
        answer: Iterable[bytes] = (self._made or self._make()).exposition(environ, start_response)
        return answer

    def _make(self) -> "Exported":
        with self._lock:
            if self._made is None:
                from fleet.worker.export import export

                self._made = export(self._app, self._health)
            return self._made
