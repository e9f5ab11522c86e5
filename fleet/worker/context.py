"""What does a worker know about itself? Its fleet, its host, its name, and where secrets are looked up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.connection import Target
from fleet.errors import UsageError
from fleet.login import Login, host_login
from fleet.model import SLOTS, Fleet, Kind, Pool, Queue, Worker
from fleet.routes import BrokerQueue, worker_queues

#: messages of a queue for each pool slot of a worker for short tasks, the one that runs included
SHORT_PREFETCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """One instance of one worker on one host."""

    fleet: Fleet
    #: name of the host it runs on
    host: str
    worker: Worker
    #: slot ``a`` or ``b``: during a rollout the old and the new instance run side by side
    instance: str = "a"
    #: where secrets are looked up; never shown
    environ: Mapping[str, str] = field(repr=False)

    @property
    def node_name(self) -> str:
        """Return the Celery node name, ``WORKER-INSTANCE@HOST``."""
        return f"{self.worker.name}-{self.instance}@{self.host}"

    @property
    def metrics_port(self) -> int:
        """Return the TCP port of ``/metrics``; 0 means that the worker serves none."""
        return self.worker.slot_port(self.instance)

    @property
    def metrics_address(self) -> str:
        """Return the address to serve metrics on: loopback for a host on loopback, else every interface."""
        declared = self.fleet.host(self.host)
        if declared is not None and declared.address.startswith("127."):
            return declared.address
        return "0.0.0.0"  # noqa: S104 - Prometheus scrapes from another host

    @property
    def queues(self) -> tuple[BrokerQueue, ...]:
        """Return the broker queues that this worker consumes."""
        return worker_queues(self.fleet, self.worker.name, self.host)

    @property
    def is_long(self) -> bool:
        """Tell whether this worker serves long tasks; long and short queues never share one."""
        return any(queue.long for queue in self.declared_queues)

    @property
    def adopts(self) -> bool:
        """Tell whether a task goes on when its connection is lost, and takes its redelivery over.

        A short task is stopped instead, to run again anywhere at once; only a child process can be stopped.
        """
        return self.is_long or self.worker.pool is not Pool.PREFORK

    @property
    def prefetch_multiplier(self) -> int:
        """Return how many messages of a queue each pool slot may hold, the one that runs included."""
        return 1 if self.is_long else SHORT_PREFETCH

    @property
    def prefetch(self) -> int:
        """Return how many unacknowledged messages of one queue this worker may have."""
        return self.worker.concurrency * self.prefetch_multiplier

    @property
    def is_redis(self) -> bool:
        """Tell whether the reduced profile applies."""
        return self.fleet.broker.kind is Kind.REDIS

    @property
    def declared_queues(self) -> tuple[Queue, ...]:
        """Return the fleet file's queues that this worker serves."""
        return tuple(queue for queue in self.fleet.queues if queue.name in self.worker.queues)

    def target(self, purpose: str, *, sends: bool = False) -> Target:
        """Return where and as whom this worker connects for ``purpose``, which the broker shows."""
        login = self.login(sends=sends)
        return Target(broker=self.fleet.broker, login=login, name=f"{self.node_name} {purpose}")

    def login(self, *, sends: bool = False) -> Login:
        """Return as whom this worker consumes, or ``sends``; the password is read anew each time.

        Raises SecretMissing when the password is not there.
        """
        return host_login(self.fleet, self.host, sends=sends, environ=self.environ)


def worker_context(
    fleet: Fleet, *, host: str, worker: str, environ: Mapping[str, str], instance: str = "a"
) -> WorkerContext:
    """Return the context of ``worker`` on ``host``.

    Raises UsageError when the fleet has no such host or worker, or the worker does not run there.
    """
    if fleet.host(host) is None:
        known = ", ".join(each.name for each in fleet.hosts)
        raise UsageError(f"{fleet.source} has no host `{host}`", hint=f"hosts: {known}")
    declared = fleet.worker(worker)
    if declared is None:
        known = ", ".join(each.name for each in fleet.workers)
        raise UsageError(f"{fleet.source} has no worker `{worker}`", hint=f"workers: {known}")
    here = fleet.workers_on(host)
    if declared not in here:
        known = ", ".join(each.name for each in here) or "none"
        raise UsageError(f"worker `{worker}` does not run on host `{host}`", hint=f"workers there: {known}")
    if instance not in SLOTS:
        raise UsageError(f"there is no instance `{instance}`", hint="instances: a, b")
    return WorkerContext(fleet=fleet, host=host, worker=declared, instance=instance, environ=environ)
