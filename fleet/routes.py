"""Which broker queue carries which task, and which task may run from which queue?

The names that provisioning declares, publishers address and workers consume are made here and nowhere else.
Pure: the fleet in, records out.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleet.accounts import declared_name
from fleet.errors import UsageError
from fleet.model import (
    BACKUP_TASK,
    CHECK_URLS_TASK,
    RESTORE_TASK,
    SEND_MAIL_TASK,
    Fleet,
    Queue,
)

#: topic exchange that every task is published to
TASK_EXCHANGE = "fleet.tasks"
#: direct exchange that dead letters pass through
DEAD_LETTER_EXCHANGE = "fleet.dead"
#: topic exchange in front of the journal stream (routing key: host)
JOURNAL_EXCHANGE = "fleet.journal"
#: stream of outcome records
JOURNAL_STREAM = "fleet.journal"
#: entry of Celery's native delayed delivery (28 levels, 0 to 27)
DELAY_EXCHANGE = "celery_delayed_27"
DELAY_DELIVERY_EXCHANGE = "celery_delayed_delivery"
DELAY_LEVELS = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerQueue:
    """A queue as it exists in the broker."""

    #: name in the broker, which is also its routing key on ``fleet.tasks``
    name: str
    #: name of the fleet file's queue it stands for
    queue: str
    #: the host whose queue it is; None for a shared queue
    host: str | None
    #: dead-letter queue, which is also its routing key on ``fleet.dead``
    dead_letter_queue: str


def dead_letter_queue_name(queue: str) -> str:
    """Return the dead-letter queue of the fleet file's queue ``queue``."""
    return f"fleet.{queue}.dlq"


def audit_key(user: str) -> str:
    """Return the journal's routing key for what operator ``user`` did, whichever password it has by now.

    No host's name begins like it.
    """
    return f"@{declared_name(user)}"


def broker_queue(queue: Queue, host: str | None) -> BrokerQueue:
    """Return the broker queue for ``queue``, on ``host`` when the queue is per host."""
    name = f"fleet.{queue.name}.{host}" if queue.per_host else f"fleet.{queue.name}"
    return BrokerQueue(
        name=name,
        queue=queue.name,
        host=host if queue.per_host else None,
        dead_letter_queue=dead_letter_queue_name(queue.name),
    )


def serving_hosts(fleet: Fleet, queue: Queue) -> tuple[str, ...]:
    """Return the names of the hosts on which some worker serves ``queue``, in the order of the file."""
    served: set[str] = set()
    for worker in fleet.workers:
        if queue.name in worker.queues:
            served.update(host.name for host in fleet.hosts_for(worker.hosts))
    return tuple(host.name for host in fleet.hosts if host.name in served)


def broker_queues(fleet: Fleet) -> tuple[BrokerQueue, ...]:
    """Return every task queue that the broker must hold for this fleet."""
    found: list[BrokerQueue] = []
    for queue in fleet.queues:
        if queue.per_host:
            found.extend(broker_queue(queue, host) for host in serving_hosts(fleet, queue))
        else:
            found.append(broker_queue(queue, None))
    return tuple(found)


def worker_queues(fleet: Fleet, worker: str, host: str) -> tuple[BrokerQueue, ...]:
    """Return the broker queues that ``worker`` consumes on ``host``."""
    declared = fleet.worker(worker)
    names = declared.queues if declared else ()
    return tuple(broker_queue(queue, host) for queue in fleet.queues if queue.name in names)


def queue_for_task(fleet: Fleet, task: str) -> Queue | None:
    """Return the queue that ``task`` is routed to, or None when no queue of this fleet allows it."""
    for pattern, queue_name in fleet.user_tasks.routes:
        if fnmatchcase(task, pattern):
            return fleet.queue(queue_name)
    return next((queue for queue in fleet.queues if allows(queue, task)), None)


def allows(queue: Queue, task: str) -> bool:
    """Tell whether ``task`` may run from ``queue``."""
    return any(fnmatchcase(task, pattern) for pattern in queue.tasks)


def route(fleet: Fleet, task: str, *, host: str | None = None, queue: str | None = None) -> BrokerQueue:
    """Return where a message for ``task`` goes.

    Raises UsageError when no queue takes the task, the named queue does not allow it, a per-host queue
    lacks its host, or the host has no worker for it.
    """
    chosen = fleet.queue(queue) if queue else queue_for_task(fleet, task)
    if chosen is None:
        what = f"queue `{queue}`" if queue else f"queue for task `{task}`"
        raise UsageError(
            f"{fleet.source} has no {what}", hint="run `fleet config show` to see queues and routes"
        )
    if not allows(chosen, task):
        raise UsageError(
            f"queue `{chosen.name}` does not allow task `{task}`",
            hint="see `tasks` of the queue in the fleet file",
        )
    if not chosen.per_host:
        return broker_queue(chosen, None)
    hosts = serving_hosts(fleet, chosen)
    if host is None:
        raise UsageError(
            f"queue `{chosen.name}` is per host, so task `{task}` needs a host",
            hint=f"add `--host {hosts[0] if hosts else 'NAME'}`",
        )
    if host not in hosts:
        raise UsageError(
            f"no worker on host `{host}` serves queue `{chosen.name}`",
            hint=f"hosts that do: {', '.join(hosts) or 'none'}",
        )
    return broker_queue(chosen, host)


def default_tasks(queue: str) -> tuple[str, ...]:
    """Return the built-in tasks that a queue of this name carries when the file does not say."""
    return {
        "backup": (BACKUP_TASK, RESTORE_TASK),
        "email": (SEND_MAIL_TASK,),
        "default": (CHECK_URLS_TASK,),
    }.get(queue, ())
