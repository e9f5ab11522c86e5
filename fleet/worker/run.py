"""How does a worker live, from its first look at the broker to its exit?"""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celery import signals

from fleet.certificates import certificate_warnings
from fleet.journal import JournalWriter
from fleet.metrics.server import MetricsServer
from fleet.worker.app import build_app
from fleet.worker.application import FleetCelery
from fleet.worker.context import WorkerContext
from fleet.worker.garbage import set_aside
from fleet.worker.guard import FAILED, INTERRUPTED, Doors, Guard
from fleet.worker.health import WorkerHealth
from fleet.worker.late_metrics import LateMetrics
from fleet.worker.logs import ignore_advice, log_to_stderr
from fleet.worker.notify import Notifier
from fleet.worker.parent import end_with_parent
from fleet.worker.preflight import WAIT_SECONDS, await_broker, look_for_queues, ready_messages
from fleet.worker.remote import take_over_shutdown
from fleet.worker.report import Reporter
from fleet.worker.telemetry import Telemetry
from fleet.worker.watchdog import LIMIT_SECONDS, Watchdog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker runs, beyond what the fleet file says."""

    loglevel: str = "info"
    #: log arguments, timing and the locals of a failing frame, secrets masked
    trace_tasks: bool = False
    metrics: bool = True
    #: how long to wait for a broker at the start
    wait_seconds: float = WAIT_SECONDS
    #: end when nothing gets on for this long; 0 means never
    watchdog_seconds: float = LIMIT_SECONDS
    #: the service manager that started it, if any
    notifier: Notifier = field(default_factory=lambda: Notifier(None))


def run_worker(context: WorkerContext, options: WorkerOptions) -> int:
    """Run a worker until it is told to stop, and return its exit code.

    Raises UsageError, SecretMissing, BrokerRefused (login, vhost, queues), BrokerUnreachable (not within
    ``wait_seconds``) or FleetError (the metrics port is in use), all before a child is started.
    """
    end_with_parent(context.environ)
    log_to_stderr(options.loglevel)
    app = build_app(context)
    for warning in certificate_warnings(context.fleet.broker.tls, datetime.now(UTC)):
        log.warning("%s", warning, extra={"event": "certificate_ends"})
    await_broker(lambda: look_for_queues(context), wait_seconds=options.wait_seconds)
    if options.trace_tasks:
        from fleet.worker.tracing import TaskTracer

        TaskTracer().install()
    journal, health = _journal(context), WorkerHealth(context)
    metrics = LateMetrics(app, health)
    app.telemetry = Telemetry(
        host=context.host, worker=context.node_name, metrics=metrics.tasks, journal=journal
    )
    health.lost = lambda: app.telemetry.lost
    server = _serve(context, metrics, health, options)
    try:
        return _work(app, health, journal, options)
    finally:
        for each in (journal, server):
            if each is not None:
                each.close()


def _journal(context: WorkerContext) -> JournalWriter | None:
    if context.is_redis:
        return None
    login = context.login(sends=True)
    return JournalWriter(context.fleet, context.host, login.password, user=login.user)


def _serve(
    context: WorkerContext, metrics: LateMetrics, health: WorkerHealth, options: WorkerOptions
) -> MetricsServer | None:
    if not options.metrics or not context.metrics_port:
        return None
    server = MetricsServer(metrics.exposition, health, context.metrics_address, context.metrics_port)
    server.start()
    return server


def _tell_ready(context: WorkerContext) -> None:
    fields = {
        "worker": context.node_name,
        "queues": ",".join(queue.name for queue in context.queues),
        "pool": context.worker.pool.value,
        "concurrency": context.worker.concurrency,
        "metrics_port": context.metrics_port,
    }
    log.info("consuming", extra={"event": "worker_ready", "fields": fields})


def _work(
    app: FleetCelery, health: WorkerHealth, journal: JournalWriter | None, options: WorkerOptions
) -> int:
    def ready(sender: Any, **extra: Any) -> None:
        del extra
        health.watch(sender)
        ignore_advice()
        _tell_ready(app.fleet_context)
        if journal is not None:
            # Not before: the children that are forked at the start have no thread of it.
            journal.start()
        # Whoever starts a worker goes on when it is ready.
        guard.call()

    signals.worker_ready.connect(ready, weak=False)
    guard = _guard(app, health, journal, options)
    worker = _worker_class(app, guard)(
        hostname=app.fleet_context.node_name,
        loglevel=options.loglevel.upper(),
        quiet=True,
        # They would broadcast every two seconds to every other worker, and say nothing that is asked here.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    set_aside()
    try:
        worker.start()
    finally:
        guard.close()
    if guard.found_stuck:
        return FAILED
    return INTERRUPTED if app.stopping.is_interrupted else int(worker.exitcode or 0)


def _worker_class(app: FleetCelery, guard: Guard) -> Any:
    class FleetWorker(app.Worker):  # type: ignore[misc, name-defined]  # celery ships no types
        """Celery's worker, which ends as ``fleet.worker.stop`` says."""

        def install_platform_tweaks(self, worker: Any) -> None:
            """Take the signals over from Celery, before anything has been started."""
            super().install_platform_tweaks(worker)
            app.stopping.listen()
            take_over_shutdown()
            guard.start(worker)

    return FleetWorker


def _guard(
    app: FleetCelery, health: WorkerHealth, journal: JournalWriter | None, options: WorkerOptions
) -> Guard:
    doors = Doors(
        ready_messages=partial(ready_messages, app.fleet_context),
        last_words=journal.close if journal is not None else lambda: None,
    )
    watchdog = Watchdog(options.watchdog_seconds) if options.watchdog_seconds else None
    reporter = Reporter(
        options.notifier,
        health,
        pool=app.fleet_context.worker.pool,
        is_held_back=lambda: journal is not None and journal.is_held_back,
    )
    return Guard(app, health, doors, watchdog=watchdog, reporter=reporter)
