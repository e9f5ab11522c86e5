"""Which fleet did the operator declare, as a whole?"""

from dataclasses import dataclass, field

from fleet.model.broker import Broker
from fleet.model.placement import Host, Queue, Worker
from fleet.model.ssh import Ssh
from fleet.model.work import Backup, Mail, ScheduleEntry, UrlCheck, UserTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everything one fleet file says, checked: names resolve, defaults are filled in."""

    name: str
    #: IANA time zone of the schedule
    timezone: str
    #: absolute directory for host-local state (ledger, outbox, beat)
    state_dir: str
    broker: Broker
    hosts: tuple[Host, ...]
    queues: tuple[Queue, ...]
    workers: tuple[Worker, ...]
    backups: tuple[Backup, ...] = ()
    mail: Mail | None = None
    url_checks: tuple[UrlCheck, ...] = ()
    schedule: tuple[ScheduleEntry, ...] = ()
    user_tasks: UserTasks = field(default_factory=UserTasks)
    ssh: Ssh = field(default_factory=Ssh)
    #: where the file came from, for messages
    source: str = "fleet.toml"

    def host(self, name: str) -> Host | None:
        """Return the host of this name, or None."""
        return next((host for host in self.hosts if host.name == name), None)

    def queue(self, name: str) -> Queue | None:
        """Return the queue of this name, or None."""
        return next((queue for queue in self.queues if queue.name == name), None)

    def worker(self, name: str) -> Worker | None:
        """Return the worker of this name, or None."""
        return next((worker for worker in self.workers if worker.name == name), None)

    def backup(self, name: str) -> Backup | None:
        """Return the backup of this name, or None."""
        return next((backup for backup in self.backups if backup.name == name), None)

    def hosts_for(self, patterns: tuple[str, ...]) -> tuple[Host, ...]:
        """Return the hosts that any of ``patterns`` means, in the order of the file."""
        return tuple(host for host in self.hosts if any(host.matches(pattern) for pattern in patterns))

    def workers_on(self, host: str) -> tuple[Worker, ...]:
        """Return the workers that run on ``host``."""
        found = self.host(host)
        if found is None:
            return ()
        return tuple(worker for worker in self.workers if any(map(found.matches, worker.hosts)))
