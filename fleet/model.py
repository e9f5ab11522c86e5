"""Which words does everything else speak? The fleet as its operator declared it, frozen.

Nothing here reads a file, a clock or an environment. Durations are seconds, sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

#: tasks that ship with fleet
BACKUP_TASK = "fleet.backup"
RESTORE_TASK = "fleet.restore"
SEND_MAIL_TASK = "fleet.send_mail"
CHECK_URLS_TASK = "fleet.check_urls"
BUILT_IN_TASKS = (BACKUP_TASK, RESTORE_TASK, SEND_MAIL_TASK, CHECK_URLS_TASK)
#: the two instances of a worker, so that an old and a new one can run side by side during a rollout
SLOTS = ("a", "b")
#: slot b serves its metrics this many ports above slot a
SLOT_PORT_STEP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where a secret is kept; never the secret itself, unless ``scheme`` is ``plaintext``."""

    #: ``env``, ``file``, ``credential`` (systemd) or ``plaintext`` (only with --insecure-plaintext-secrets)
    scheme: str
    #: variable name, absolute path, credential name, or the value in the clear
    name: str = field(repr=False)

    def __str__(self) -> str:
        return "plaintext:***" if self.scheme == "plaintext" else f"{self.scheme}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that runs workers."""

    name: str
    #: DNS name or IP address; the name itself where the file gives none
    address: str
    labels: tuple[str, ...] = ()

    def matches(self, pattern: str) -> bool:
        """Tell whether ``pattern`` means this host: a glob over names (``web-*``) or a label (``@db``)."""
        if pattern.startswith("@"):
            return pattern[1:] in self.labels
        return fnmatchcase(self.name, pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A routed queue of the fleet; with ``per_host`` it stands for one broker queue per host."""

    name: str
    #: names or globs of the tasks that may run from this queue
    tasks: tuple[str, ...]
    #: long tasks: a worker of its own, prefetch 1, redeliveries adopted, never cancelled on connection loss
    long: bool = False
    #: one broker queue per host, because the work must run on that host
    per_host: bool = False
    #: link, link_error, chains, groups and chords are allowed in messages of this queue
    allow_callbacks: bool = False
    #: longest run that is expected of a task here; hard time limit
    max_runtime_seconds: int = 3600
    #: a task should start within this time; the alert on waiting uses it
    max_wait_seconds: int = 300
    #: deliveries of one message before it is dead-lettered
    delivery_limit: int = 20
    #: longest the queue may grow (messages); publishing is refused beyond it
    max_length: int | None = None


class Pool(StrEnum):
    """Celery's worker pools that fleet supports."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker: one Celery process (with its pool) on each of its hosts."""

    name: str
    #: host patterns
    hosts: tuple[str, ...]
    #: names of queues
    queues: tuple[str, ...]
    pool: Pool = Pool.PREFORK
    #: pool size (processes or threads)
    concurrency: int = 2
    #: TCP port of /metrics, /healthz and /readyz on every host of this worker (slot a)
    metrics_port: int = 0

    def slot_port(self, slot: str) -> int:
        """Return the metrics port of the instance in ``slot`` (of ``SLOTS``); 0 where none is declared."""
        return self.metrics_port + SLOTS.index(slot) * SLOT_PORT_STEP if self.metrics_port else 0


class Profile(StrEnum):
    """How much the fleet's broker user may do."""

    LEAST_PRIVILEGE = "least-privilege"
    OPEN = "open"


class Kind(StrEnum):
    """Which broker carries the fleet: RabbitMQ with every promise, or Redis as a reduced profile."""

    RABBITMQ = "rabbitmq"
    REDIS = "redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS towards the broker; the server certificate is always verified."""

    #: CA bundle (PEM) path; None means the system's
    ca: str | None = None
    #: client certificate (PEM) path
    cert: str | None = None
    #: client key (PEM) path
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One broker node's address."""

    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """The HTTP API of RabbitMQ's management plugin, as the provisioner uses it."""

    #: base URL, such as ``https://mq1:15671``
    url: str
    #: a user with the tag ``administrator``
    user: str
    password: SecretRef
    #: CA bundle (PEM) path; None means the system's
    ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUser:
    """A further broker user with a role of its own (``publisher``, ``observer`` or ``operator``)."""

    name: str
    #: ``publisher`` may only enqueue, ``observer`` only read the journal, ``operator`` inspect workers
    role: str
    password: SecretRef
    #: publisher only: names of queues it may publish to
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The broker and how to reach it."""

    nodes: tuple[Node, ...]
    kind: Kind = Kind.RABBITMQ
    #: RabbitMQ vhost, or the database number for Redis
    vhost: str = "celery"
    user: str = "celery"
    password: SecretRef | None = None
    profile: Profile = Profile.LEAST_PRIVILEGE
    tls: Tls | None = None
    management: Management | None = None
    #: argv that starts rabbitmqctl (the CLI door), such as ("/usr/lib/rabbitmq/bin/rabbitmqctl",)
    rabbitmqctl: tuple[str, ...] | None = None
    users: tuple[BrokerUser, ...] = ()
    #: Redis only: must exceed the longest task, or it runs beside itself
    visibility_timeout_seconds: int | None = None
    #: optional Redis URL without password for results, such as ``redis://127.0.0.1:6379/1``
    result_backend: str | None = None
    #: password of the result backend
    result_password: SecretRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many finished snapshots stay; the newest good one always does."""

    last: int = 7
    daily: int = 7
    weekly: int = 4
    monthly: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that is defined once and runs on each of its hosts."""

    name: str
    #: host patterns
    hosts: tuple[str, ...]
    #: absolute paths
    sources: tuple[str, ...]
    #: absolute directory; snapshots of host H and backup B live in ``destination/H/B``
    destination: str
    #: ``snapshot`` (dated, hard-linked, atomic) or ``mirror`` (one copy, deletions follow the source)
    kind: str = "snapshot"
    queue: str = "backup"
    excludes: tuple[str, ...] = ()
    one_file_system: bool = True
    #: None means unlimited
    bandwidth_limit_bytes_per_second: int | None = None
    #: a restore that arrives as a message writes only below this directory; None refuses such restores
    restore_dir: str | None = None
    retention: Retention = Retention()
    #: alert when the last success is older than this
    max_age_seconds: int = 93_600
    #: refuse to finish a run in which fewer files than this were found in the sources
    min_files: int = 1
    #: mirror only: refuse a run that would delete more files than this
    max_delete: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """An SMTP submission server."""

    host: str
    port: int = 587
    #: ``starttls``, ``tls`` or ``none`` (loopback only)
    security: str = "starttls"
    user: str | None = None
    password: SecretRef | None = None
    #: CA bundle (PEM) path; None means the system's
    ca: str | None = None
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendGrid:
    """SendGrid's v3 HTTP API."""

    api_key: SecretRef
    url: str = "https://api.sendgrid.com"
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """How mail leaves the fleet."""

    #: address or ``Name <address>``
    sender: str
    #: directory with ``NAME.subject.txt``, ``NAME.txt`` and optionally ``NAME.html``
    templates: str
    smtp: Smtp | None = None
    sendgrid: SendGrid | None = None
    queue: str = "email"
    #: attempts before a transient failure is final
    max_attempts: int = 12
    #: first retry delay; doubles each time up to ``retry_max_seconds``, with jitter
    retry_base_seconds: float = 30.0
    retry_max_seconds: float = 14_400.0
    #: after "unknown" (sent, but the answer was lost): ``retry`` may send twice, ``hold`` dead-letters it
    on_unknown: str = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlCheck:
    """A URL that ``check_urls`` asks for."""

    name: str
    url: str
    timeout_seconds: float = 10.0
    expect_status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """A task that beat sends on time."""

    name: str
    task: str
    #: crontab line of five fields, or None
    crontab: str | None = None
    #: seconds between runs, or None; exactly one of the two is given
    every_seconds: int | None = None
    #: JSON-like keyword arguments
    kwargs: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    #: host patterns for a per-host queue; () where the queue is shared
    hosts: tuple[str, ...] = ()
    #: each host's run is shifted by a fixed part of this window
    jitter_seconds: int = 0
    #: how late a run may be before the alert
    grace_seconds: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTasks:
    """The operator's own Celery tasks."""

    #: modules that define them
    imports: tuple[str, ...] = ()
    #: (task name or glob, queue name), first match wins
    routes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everything one fleet file says, checked: names resolve, defaults are filled in."""

    name: str
    #: IANA time zone of the schedule
    timezone: str
    #: absolute directory for host-local state (ledger, beat)
    state_dir: str
    broker: Broker
    hosts: tuple[Host, ...]
    queues: tuple[Queue, ...]
    workers: tuple[Worker, ...]
    backups: tuple[Backup, ...] = ()
    mail: Mail | None = None
    url_checks: tuple[UrlCheck, ...] = ()
    schedule: tuple[ScheduleEntry, ...] = ()
    user_tasks: UserTasks = UserTasks()
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
        return tuple(
            worker for worker in self.workers if any(h.name == host for h in self.hosts_for(worker.hosts))
        )
