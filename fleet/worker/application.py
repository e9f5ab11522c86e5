"""How does Celery's app behave here? It logs in late, publishes for certain, and knows its worker."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from fleet.model import Queue
from fleet.publish.channel import ConfirmedChannel
from fleet.publish.message import (
    FIRST_HEADER,
    SENT_HEADER,
    TRACE_HEADER,
    VERSION,
    VERSION_HEADER,
    new_task_id,
)
from fleet.secrets import Secret
from fleet.worker.adoption import LOST_CONNECTIONS, Adoptions
from fleet.worker.context import WorkerContext
from fleet.worker.delay import whole_seconds
from fleet.worker.handover import Handover
from fleet.worker.producer import ConfirmedProducer
from fleet.worker.stop import Stopping
from fleet.worker.task import trace_of
from fleet.worker.telemetry import Telemetry

#: seconds that one read or write of a publishing connection may take; a broker in alarm stops reading
PUBLISH_IO_SECONDS = 10


class FleetCelery(Celery):  # type: ignore[misc]  # celery ships no types
    """A Celery app whose password is no setting and whose publishes are stamped, confirmed and mandatory."""

    task_cls = "fleet.worker.task:FleetTask"
    amqp_cls = "fleet.worker.connection:FleetAMQP"

    #: the worker that this app belongs to; an app that only inspects has none
    fleet_context: WorkerContext
    #: the worker's queues, by their name in the broker
    declared_queues: Mapping[str, Queue]
    adoptions: Adoptions
    telemetry: Telemetry
    handover: Handover
    stopping: Stopping
    #: what tasks publish through; None leaves it to Celery, for Redis and for an app that only inspects
    producer: ConfirmedProducer | None = None
    _password: Callable[[], Secret | None]

    def serve(self, context: WorkerContext) -> None:
        """Belong to the worker of ``context`` from now on."""
        self.fleet_context = context
        self.declared_queues = {
            queue.name: declared
            for queue in context.queues
            for declared in context.declared_queues
            if declared.name == queue.queue
        }
        self.adoptions = self._adoptions(context)
        self.telemetry = Telemetry()
        self.stopping = Stopping(context.worker.stop_timeout_seconds)
        self.handover = Handover(lambda: ConfirmedChannel(context.target("handover", sends=True)))
        self.producer = (
            None if context.is_redis else ConfirmedProducer(lambda: context.target("tasks", sends=True))
        )

    def _adoptions(self, context: WorkerContext) -> Adoptions:
        adopting = frozenset(self.declared_queues if context.adopts else ())
        # With Redis a redelivery means that time has passed, not that a connection was lost.
        remembering = adopting if context.is_redis else self.declared_queues
        remembered = LOST_CONNECTIONS * context.prefetch
        return Adoptions(remembering, adopting=adopting, remembered=remembered)

    def log_in_with(self, password: Callable[[], Secret | None]) -> None:
        """Ask ``password`` at each login, so that a changed one needs no restart."""
        self._password = password

    def broker_password(self) -> str | None:
        """Return the broker password in the clear, for a connection that is about to log in."""
        secret = self._password()
        return secret.reveal() if secret else None

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for publishing; its reads and writes are bounded in time.

        Not so for consuming: there a bound would end an idle connection, which heartbeats watch already.
        """
        if not self._speaks_amqp():
            return super().connection_for_write(url, **options)
        bounds = {"read_timeout": PUBLISH_IO_SECONDS, "write_timeout": PUBLISH_IO_SECONDS}
        transport_options = bounds | (options.pop("transport_options", None) or {})
        return super().connection_for_write(url, transport_options=transport_options, **options)

    def _connection(self, url: str, **options: Any) -> Any:
        if options.get("password") is None:
            # py-amqp asks a callable at each login; Redis' transport takes text only.
            options["password"] = self.broker_password if self._speaks_amqp() else self.broker_password()
        return super()._connection(url, **options)

    def _speaks_amqp(self) -> bool:
        return str(self.conf.broker_url[0]).startswith("amqp")

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Return a context with what to publish through: the confirming one, whatever the caller brings."""
        return super().producer_or_acquire(self.producer or producer)

    def send_task(
        self,
        name: str,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        countdown: float | None = None,
        eta: datetime | str | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Publish a task: stamped, mandatory, and with a delay in whole seconds, at least one."""
        now, task_id = time.time(), task_id or new_task_id()
        running = self.current_worker_task
        trace = trace_of(running.request if running else None, task_id)
        stamps = {VERSION_HEADER: VERSION, FIRST_HEADER: now, SENT_HEADER: now, TRACE_HEADER: trace}
        options["headers"] = stamps | (options.get("headers") or {})
        if countdown:
            countdown = whole_seconds(countdown)
        elif isinstance(eta, datetime):
            countdown, eta = _countdown(eta, now), None
        if self._speaks_amqp():
            options.setdefault("mandatory", True)
            options.setdefault("timestamp", int(now))
        if self.producer is not None:
            # It has tried for as long as makes sense; Celery would ask kombu's connection whether to go on.
            options["retry"] = False
        return super().send_task(name, args, kwargs, countdown, eta, task_id, **options)


def _countdown(eta: datetime, now: float) -> int:
    aware = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
    return whole_seconds(aware.timestamp() - now)
