"""Which metrics does a worker export?"""

from dataclasses import dataclass

from fleet.metrics.collectors import (
    register_certificates,
    register_declared,
    register_ledger,
    register_outbox,
    register_worker,
)
from fleet.metrics.http import Exposition
from fleet.metrics.registry import exposition, new_registry
from fleet.metrics.tasks import TaskMetrics
from fleet.routes import allows
from fleet.worker.application import FleetCelery
from fleet.worker.health import WorkerHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The metrics of one worker."""

    tasks: TaskMetrics
    exposition: Exposition


def export(app: FleetCelery, health: WorkerHealth) -> Exported:
    """Return all that the worker of ``app`` exports, each of its tasks at zero."""
    context, registry = app.fleet_context, new_registry()
    tasks = TaskMetrics(registry)
    for task in app.tasks:
        for queue_name, queue in app.declared_queues.items():
            if allows(queue, task):
                tasks.prepare(task, queue_name)
    register_worker(registry, health.snapshot)
    register_declared(registry, context.fleet)
    register_certificates(registry, context.fleet.broker.tls)
    register_ledger(registry, context.fleet.state_dir, host=context.host)
    register_outbox(registry, context.fleet, host=context.host)
    return Exported(tasks=tasks, exposition=exposition(registry))
