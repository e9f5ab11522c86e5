"""How do the fleet's queues look to Celery, and which one does a task go to?"""

from collections.abc import Callable
from typing import Any

from kombu import Exchange, Queue

from fleet.routes import TASK_EXCHANGE, BrokerQueue, route
from fleet.worker.context import WorkerContext

#: decides where a task goes: name, args, kwargs, options → ``{"queue": name}``, or None to leave it as it is
Router = Callable[..., dict[str, str] | None]


def quorum_queue(queue: BrokerQueue) -> Queue:
    """Return a quorum queue that provisioning has declared; a worker has no right to declare it."""
    exchange = Exchange(TASK_EXCHANGE, type="topic", no_declare=True)
    return Queue(
        queue.name,
        exchange=exchange,
        routing_key=queue.name,
        queue_arguments={"x-queue-type": "quorum"},
        no_declare=True,
    )


def redis_queue(queue: BrokerQueue) -> Queue:
    """Return a queue for Redis, where a queue exists only while it holds messages."""
    return Queue(queue.name, exchange=Exchange(TASK_EXCHANGE, type="direct"), routing_key=queue.name)


def router(context: WorkerContext) -> Router:
    """Return Celery's router for tasks that a task of this worker sends: the fleet file's table decides."""

    def route_task(name: str, *call: Any, **extra: Any) -> dict[str, str] | None:
        _, _, options = call
        del extra
        if options.get("queue") or options.get("exchange"):
            return None
        return {"queue": route(context.fleet, name, host=context.host).name}

    return route_task
