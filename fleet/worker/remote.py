"""What does ``celery control shutdown`` do to a worker of the fleet? The same as SIGTERM."""

import signal
from typing import Any

from celery.worker.control import Panel


def take_over_shutdown() -> None:
    """Let a shutdown by remote control end a worker as a signal does; Celery waits for tasks without end."""
    Panel.data["shutdown"] = _shutdown


def _shutdown(state: Any, **options: Any) -> dict[str, str]:
    del options
    state.consumer.app.stopping.ask(signal.SIGTERM)
    return {"ok": "draining"}
