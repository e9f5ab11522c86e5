"""Which Celery settings does a worker of this fleet run with, and why each one?

Pure: the fleet file in, settings out. No setting holds a secret, so ``inspect conf`` and ``celery report``
have none to show; passwords are resolved when a connection is made (``fleet.worker.connection``).
"""

from collections.abc import Iterable

from fleet.connection import tcp_settings
from fleet.errors import UsageError
from fleet.model import Fleet, Pool
from fleet.routes import TASK_EXCHANGE, broker_queues
from fleet.worker.connecting import SILENCE_SECONDS, Setting, connection_settings
from fleet.worker.context import WorkerContext
from fleet.worker.queues import quorum_queue, redis_queue, router

#: seconds between looks for messages of dead workers in Redis
REDIS_SWEEP_SECONDS = 5
#: seconds by which Redis' visibility timeout exceeds the longest task when the fleet file gives none
VISIBILITY_MARGIN_SECONDS = 600
#: pools that are ours
_POOLS = {Pool.PREFORK: "fleet.worker.pool:FleetPool"}


def worker_settings(context: WorkerContext) -> tuple[Setting, ...]:
    """Return every setting of a worker.

    Raises UsageError when Redis would hand a task that still runs to a second worker, and SecretMissing: what
    is kept as the password says which of a user's two accounts it belongs to.
    """
    specific = _redis(context) if context.is_redis else _rabbitmq(context)
    return (
        *connection_settings(context.fleet, user=context.login().user),
        *_messages(context.fleet),
        *_routing(context),
        *_pool(context),
        *_settlement(context),
        *_recovery(),
        *_publishing(context),
        *_results(context.fleet),
        *specific,
    )


def _messages(fleet: Fleet) -> Iterable[Setting]:
    yield Setting(name="task_serializer", value="json", reason="what this fleet accepts, it also sends")
    yield Setting(name="result_serializer", value="json", reason="results carry data, never code")
    yield Setting(name="result_accept_content", value=["json"], reason="results carry data, never code")
    yield Setting(name="task_protocol", value=2, reason="the only protocol that the gate lets in")
    yield Setting(name="enable_utc", value=True, reason="an ETA means the same on every host")
    yield Setting(name="timezone", value=fleet.timezone, reason="crontabs mean the operator's time zone")


def _routing(context: WorkerContext) -> Iterable[Setting]:
    consumed = context.queues
    make = redis_queue if context.is_redis else quorum_queue
    yield Setting(
        name="task_queues",
        value=tuple(make(queue) for queue in broker_queues(context.fleet)),
        reason="all queues of the fleet, so that a task may send another; only the worker's own are consumed",
    )
    yield Setting(
        name="task_create_missing_queues",
        value=False,
        reason="a mistyped queue name is an error, not an orphan queue",
    )
    yield Setting(
        name="task_default_queue", value=consumed[0].name, reason="it must name a queue that exists"
    )
    yield Setting(name="task_default_exchange", value=TASK_EXCHANGE, reason="the exchange provisioning made")
    yield Setting(
        name="task_default_exchange_type",
        value="direct" if context.is_redis else "topic",
        reason="native delays need a topic exchange; Redis has no bindings to rely on",
    )
    yield Setting(
        name="task_routes",
        value=(router(context),),
        reason="the fleet file's table decides, on this host for per-host queues",
    )


def _pool(context: WorkerContext) -> Iterable[Setting]:
    yield Setting(
        name="worker_pool",
        value=_POOLS.get(context.worker.pool, context.worker.pool.value),
        reason="from the fleet file; prefork is Celery's, with fewer writes for each task",
    )
    yield Setting(
        name="worker_concurrency",
        value=context.worker.concurrency,
        reason="from the fleet file, never guessed",
    )
    yield Setting(
        name="worker_prefetch_multiplier",
        value=context.prefetch_multiplier,
        reason="a long task must not hold messages another worker could run; short ones gain from a few",
    )
    yield Setting(
        name="task_time_limit",
        value=max(queue.max_runtime_seconds for queue in context.declared_queues),
        reason="nothing runs for ever; each message gets its own queue's limit (fleet.worker.request)",
    )
    yield Setting(
        name="worker_proc_alive_timeout",
        value=30.0,
        reason="on a busy host a child may need more than Celery's 4 s to come up",
    )


def _settlement(context: WorkerContext) -> Iterable[Setting]:
    yield Setting(name="task_acks_late", value=True, reason="a killed worker's task is delivered again")
    yield Setting(
        name="task_acks_on_failure",
        value=False,
        reason="a final failure is rejected, so that the broker dead-letters it instead of dropping it",
    )
    yield Setting(
        name="task_acks_on_timeout",
        value=False,
        reason="a timed-out task is dead-lettered; fleet.worker.request keeps Celery from requeueing it",
    )
    yield Setting(
        name="task_reject_on_worker_lost",
        value=True,
        reason="a killed child's task runs again, up to the queue's delivery limit",
    )
    yield Setting(
        name="worker_cancel_long_running_tasks_on_connection_loss",
        value=not context.adopts,
        reason="a short task starts again elsewhere, so stop it; a long one or a thread adopts its message",
    )


def _recovery() -> Iterable[Setting]:
    yield Setting(
        name="worker_consumer",
        value="fleet.worker.consumer:FleetConsumer",
        reason="gate, adoption, and no declaring of delayed delivery",
    )
    yield Setting(
        name="worker_send_task_events", value=False, reason="events halve throughput; metrics need none"
    )
    yield Setting(name="worker_enable_remote_control", value=True, reason="`celery inspect` works")
    yield Setting(
        name="broker_connection_retry", value=True, reason="a worker outlives any outage of the broker"
    )
    yield Setting(
        name="broker_connection_retry_on_startup",
        value=True,
        reason="the first connection has been tried before; what fails after that is an outage",
    )
    yield Setting(
        name="broker_connection_max_retries", value=None, reason="Celery would exit after 100 attempts"
    )


def _publishing(context: WorkerContext) -> Iterable[Setting]:
    if not context.is_redis:
        yield Setting(
            name="task_publish_retry",
            value=False,
            reason="tasks go through fleet.publish, which itself tries again, on the next node if need be",
        )
        return
    yield Setting(
        name="task_publish_retry", value=True, reason="a retry must survive a restart of the broker"
    )
    yield Setting(
        name="task_publish_retry_policy",
        value={"max_retries": 10, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 3.0},
        reason="about 20 s; Celery's 0.6 s is shorter than any restart",
    )


def _results(fleet: Fleet) -> Iterable[Setting]:
    backend = fleet.broker.result_backend
    yield Setting(
        name="result_backend",
        value=f"fleet.worker.results:FleetRedisBackend+{backend}" if backend else None,
        reason="outcomes go to the journal; results are stored only where the fleet file says so",
    )
    yield Setting(
        name="task_ignore_result", value=backend is None, reason="without a backend there is nothing to keep"
    )


def _rabbitmq(context: WorkerContext) -> Iterable[Setting]:
    yield Setting(
        name="broker_transport_options",
        value={
            "confirm_publish": True,
            "client_properties": {"connection_name": context.node_name},
            "socket_settings": tcp_settings(SILENCE_SECONDS),
        },
        reason="without confirms a full queue loses messages silently; the name shows in the management UI; "
        "TCP gives a silent peer up when heartbeats do, where py-amqp's 1 s ends it for any short cut",
    )
    yield Setting(
        name="broker_channel_error_retry",
        value=True,
        reason="406 (consumer timeout) and 405 (mailbox still held by a dead connection) end no worker",
    )
    yield Setting(
        name="worker_detect_quorum_queues",
        value=True,
        reason="quorum queues know no global prefetch; delays go through the broker",
    )


def _redis(context: WorkerContext) -> Iterable[Setting]:
    yield Setting(
        name="broker_transport_options",
        value={
            "visibility_timeout": visibility_timeout(context.fleet),
            "unacked_restore_interval": REDIS_SWEEP_SECONDS,
            "unacked_restore_throttle": 1,
        },
        reason="what was not acknowledged in time is handed out again; kombu would look every 100 s only",
    )
    yield Setting(
        name="task_retry_on_worker_lost",
        value=True,
        reason="without a delivery limit, a task that kills its child would be sent again for ever",
    )


def visibility_timeout(fleet: Fleet) -> int:
    """Return Redis' visibility timeout in seconds.

    Raises UsageError when it does not exceed the longest run that the fleet file allows.
    """
    longest = max(queue.max_runtime_seconds for queue in fleet.queues)
    given = fleet.broker.visibility_timeout_seconds
    if given is None:
        return longest + VISIBILITY_MARGIN_SECONDS
    if given <= longest:
        raise UsageError(
            f"broker.visibility_timeout is {given} s, but a task may run for {longest} s: "
            "Redis would start it a second time beside itself",
            hint=f"set visibility_timeout above {longest} s, or lower max_runtime of the queues",
        )
    return given
