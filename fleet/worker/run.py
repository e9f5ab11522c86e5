"""How does a worker live, from its first look at the broker to its exit?"""

from dataclasses import dataclass
from typing import Any

from celery import signals

from fleet.metrics.collectors import register_declared, register_ledger, register_worker
from fleet.metrics.registry import new_registry
from fleet.metrics.server import MetricsServer
from fleet.metrics.tasks import TaskMetrics
from fleet.routes import allows
from fleet.worker.app import build_app
from fleet.worker.application import FleetCelery
from fleet.worker.context import WorkerContext
from fleet.worker.health import WorkerHealth
from fleet.worker.logs import log_to_stderr
from fleet.worker.preflight import WAIT_SECONDS, await_broker, look_for_queues
from fleet.worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker runs, beyond what the fleet file says."""

    loglevel: str = "info"
    #: log arguments, timing and the locals of a failing frame, secrets masked
    trace_tasks: bool = False
    metrics: bool = True
    #: how long to wait for a broker at the start
    wait_seconds: float = WAIT_SECONDS


def run_worker(context: WorkerContext, options: WorkerOptions) -> int:
    """Run a worker until it is told to stop, and return its exit code.

    Raises UsageError, SecretMissing, BrokerRefused (login, vhost, queues), BrokerUnreachable (not within
    ``wait_seconds``) or FleetError (the metrics port is in use), all before a child is started.
    """
    log_to_stderr(options.loglevel)
    app = build_app(context)
    await_broker(lambda: look_for_queues(context), wait_seconds=options.wait_seconds)
    health = WorkerHealth(context)
    server = _instrument(app, context, health, options)
    try:
        return _work(app, context, health, options)
    finally:
        if server is not None:
            server.close()


def _instrument(
    app: FleetCelery, context: WorkerContext, health: WorkerHealth, options: WorkerOptions
) -> MetricsServer | None:
    registry = new_registry()
    metrics = TaskMetrics(registry)
    app.telemetry = Telemetry(host=context.host, worker=context.node_name, metrics=metrics)
    health.lost = lambda: app.telemetry.lost
    for task in app.tasks:
        for name, queue in app.declared_queues.items():
            if allows(queue, task):
                metrics.prepare(task, name)
    register_worker(registry, health.snapshot)
    register_declared(registry, context.fleet)
    register_ledger(registry, context.fleet.state_dir, host=context.host)
    if not options.metrics or not context.metrics_port:
        return None
    server = MetricsServer(registry, health, context.metrics_address, context.metrics_port)
    server.start()
    return server


def _work(app: FleetCelery, context: WorkerContext, health: WorkerHealth, options: WorkerOptions) -> int:
    def ready(sender: Any, **extra: Any) -> None:
        del extra
        health.watch(sender)

    def draining(**extra: Any) -> None:
        del extra
        health.draining = True

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(draining, weak=False)
    worker = app.Worker(
        hostname=context.node_name,
        loglevel=options.loglevel.upper(),
        quiet=True,
        # They would broadcast every two seconds to every other worker, and say nothing that is asked here.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
