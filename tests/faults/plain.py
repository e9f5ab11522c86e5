"""Plain Celery, to compare with: with its defaults, and with the best settings that are known for RabbitMQ.

``celery -A tests.faults.plain worker -Q short``. FAULTS_URL names the broker, FAULTS_SETTINGS is
`defaults` or `best`.
"""

import os
from collections.abc import Mapping
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

EXCHANGE = Exchange("tasks", type="topic", durable=True)
DEAD_LETTERS = Exchange("dead", type="direct", durable=True)
ROUTES = {"faults.long": {"queue": "long"}, "faults.*": {"queue": "short"}}
DELIVERY_LIMIT = 20


def dead_letter_queue(name: str) -> str:
    """Return where the messages go that ``name`` gives up; plain defaults have none."""
    return f"{name}.dlq"


def settings(kind: str) -> Mapping[str, Any]:
    """Return Celery's settings for ``kind``."""
    common: dict[str, Any] = {"task_routes": ROUTES, "imports": ["fault_tasks"]}
    if kind == "defaults":
        return common
    return common | {
        "task_queues": tuple(_queue(name) for name in ("short", "long")),
        "task_default_queue": "short",
        "task_default_exchange": EXCHANGE.name,
        "task_default_exchange_type": "topic",
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_acks_on_failure": False,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_channel_error_retry": True,
        "broker_heartbeat": 10,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {"confirm_publish": True, "read_timeout": 15, "write_timeout": 15},
        "task_publish_retry_policy": {"max_retries": 10, "interval_step": 0.5, "interval_max": 3.0},
    }


def _queue(name: str) -> Queue:
    arguments = {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": DEAD_LETTERS.name,
        "x-dead-letter-routing-key": dead_letter_queue(name),
        "x-dead-letter-strategy": "at-least-once",
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    return Queue(name, EXCHANGE, routing_key=name, queue_arguments=arguments)


def declare(made: Celery) -> None:
    """Declare the queues and where they dead-letter to, as an operator would have done before."""
    with made.connection_for_write() as connection:
        for queue in made.conf.task_queues or ():
            queue(connection.default_channel).declare()
            dead = dead_letter_queue(queue.name)
            arguments = {"x-queue-type": "quorum"}
            Queue(dead, DEAD_LETTERS, routing_key=dead, queue_arguments=arguments)(
                connection.default_channel
            ).declare()


def make(url: str, kind: str) -> Celery:
    """Return the app."""
    made = Celery("plain", broker=url)
    made.conf.update(settings(kind))
    return made


app = make(os.environ.get("FAULTS_URL", "memory://"), os.environ.get("FAULTS_SETTINGS", "defaults"))
