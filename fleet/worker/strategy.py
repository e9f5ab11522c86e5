"""What does a worker do with a message that the gate has let in? Start it, unless it already runs or ran."""

import logging
from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.strategy import default

from fleet.worker.adoption import adopt

log = logging.getLogger(__name__)

Handler = Callable[..., Any]


def adopting(task: Any, app: Any, consumer: Any) -> Handler:
    """Return Celery's handler for messages of ``task``, behind a look at the runs that go on."""
    start = default(task, app, consumer)

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **options: Any) -> Any:
        app.adoptions.forget(message)
        running = app.adoptions.running(message, tuple(state.active_requests))
        if running is not None:
            adopt(running, message, ack=ack, reject=reject)
            _log("task_adopted", message)
            return None
        settled = app.adoptions.ended(message)
        if settled is not None:
            settle = ack if settled == "ack" else reject
            # This connection, too, may be lost before the broker has kept it.
            app.adoptions.remember(message, settled=settled)
            settle(log, consumer.connection_errors, *(() if settled == "ack" else (False,)))
            _log("task_settled", message)
            return None
        return start(message, body, ack, reject, callbacks, **options)

    return handle


def _log(event: str, message: Any) -> None:
    fields = {"task": message.headers["task"], "id": message.headers["id"]}
    log.info("a redelivery of a task that runs or ran here", extra={"event": event, "fields": fields})
