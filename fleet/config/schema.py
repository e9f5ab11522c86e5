"""Which tables and keys may a fleet file hold?

The one source of the parser, of the JSON Schema for editors and of the reference page.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fleet.config.values import (
    AbsolutePath,
    Address,
    Duration,
    HostName,
    HostPattern,
    Line,
    Name,
    Reference,
    Size,
    Timeout,
    Window,
    Word,
)
from fleet.model import SLOT_PORT_STEP, Pool, Profile

_Port = Annotated[int, Field(ge=1, le=65535)]
#: leaves room for the port of the worker's second instance
_MetricsPort = Annotated[int, Field(ge=1, le=65535 - SLOT_PORT_STEP)]
_Count = Annotated[int, Field(ge=0)]
_Many = Annotated[list[Word], Field(min_length=1)]


class Table(BaseModel):
    """A table of the fleet file: unknown keys are errors, values keep their type."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class FleetTable(Table):
    """The fleet as a whole."""

    name: Name = "fleet"
    """Name of the fleet; a label on its metrics."""
    timezone: Word = "UTC"
    """IANA time zone of the schedule, such as `Europe/Berlin`."""
    state_dir: AbsolutePath = "/var/lib/fleet"
    """Directory on each host for the ledger and beat's memory."""


class TlsTable(Table):
    """TLS towards the broker; the server's certificate is always verified."""

    ca: AbsolutePath | None = None
    """CA bundle (PEM); the system's when left out."""
    cert: AbsolutePath | None = None
    """Client certificate (PEM)."""
    key: AbsolutePath | None = None
    """Client key (PEM)."""


class ManagementTable(Table):
    """RabbitMQ's management HTTP API, as `fleet provision broker` uses it."""

    url: str
    """Base URL, such as `https://mq1:15671`."""
    user: Word
    """A broker user with the tag `administrator`."""
    password: Reference
    """Its password."""
    ca: AbsolutePath | None = None
    """CA bundle (PEM); the system's when left out."""


class UserTable(Table):
    """A further broker user with one role."""

    role: Literal["publisher", "observer", "operator"]
    """What it may do: only enqueue, only read the journal, or inspect and control workers."""
    password: Reference
    """The user's password."""
    queues: list[Word] = []
    """Publisher only: the queues it may publish to; all when left out."""


class BrokerTable(Table):
    """The broker: RabbitMQ with every promise, or Redis as a reduced profile."""

    url: str | None = None
    """Address of one broker: `amqp://host:5672`, `amqps://host:5671` or `redis://host:6379/0`."""
    nodes: list[str] = []
    """Addresses of several nodes of one RabbitMQ cluster, instead of `url`."""
    vhost: Line | None = None
    """RabbitMQ vhost; `celery` when left out."""
    user: Word | None = None
    """The fleet's own broker user; `celery` when left out."""
    password: Reference | None = None
    """Its password; RabbitMQ needs one."""
    profile: Profile = Field(default=Profile.LEAST_PRIVILEGE, strict=False)
    """What the fleet's own user may do: what its workers need, or everything, as `administrator`."""
    tls: TlsTable | None = None
    management: ManagementTable | None = None
    rabbitmqctl: Annotated[list[Line], Field(min_length=1)] | None = None
    """Command that starts rabbitmqctl, for provisioning without the management plugin."""
    users: dict[Name, UserTable] = {}
    visibility_timeout: Duration | None = None
    """Redis only: how long a message may stay unacknowledged; must exceed the longest task."""
    result_backend: str | None = None
    """Redis URL without password for results, such as `redis://127.0.0.1:6379/1`."""
    result_password: Reference | None = None
    """Password of the result backend."""


class HostTable(Table):
    """A machine that runs workers."""

    address: Address | None = None
    """Where it is reached, and where its workers serve metrics; its name when left out."""
    labels: list[Name] = []
    """Labels, used as `@label` wherever hosts are named."""


class QueueTable(Table):
    """A routed queue, with its dead-letter queue."""

    tasks: list[Word] | None = None
    """Names or globs of the tasks that may run from this queue; by default what is routed to it."""
    long: bool | None = None
    """Long tasks: they have workers of their own, and adopt their redelivery; so it is for `backup`."""
    per_host: bool | None = None
    """One broker queue per host, because the work must run on that host; so it is for `backup`."""
    allow_callbacks: bool = False
    """Accept links, chains, groups and chords in messages of this queue."""
    max_runtime: Duration | None = None
    """Longest run of a task (hard limit); 1h, or 24h for a long queue."""
    max_wait: Duration | None = None
    """A task should start within this time, else an alert fires; 5m, or 6h for a long queue."""
    delivery_limit: Annotated[int, Field(ge=1)] | None = None
    """Deliveries of one message before it is dead-lettered; 20, or 200 for a long queue."""
    max_length: Annotated[int, Field(ge=1)] | None = None
    """Most messages the queue may hold; publishing beyond is refused."""


class WorkerTable(Table):
    """A worker: one Celery process with its pool on each of its hosts."""

    hosts: Annotated[list[HostPattern], Field(min_length=1)] = ["*"]
    """Host patterns: names, globs (`web-*`) or labels (`@db`)."""
    queues: _Many
    """Queues it consumes."""
    pool: Pool = Field(default=Pool.PREFORK, strict=False)
    """How tasks run: in child processes, which can be ended at `max_runtime`, in threads, or one by one."""
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Pool size; 2, or 1 for a long queue and for the pool `solo`."""
    metrics_port: _MetricsPort | None = None
    """TCP port of `/metrics`, and 100 above it for a second instance; counted up from 9540 when left out."""


class RetentionTable(Table):
    """How many finished snapshots stay; the newest good one always does."""

    last: Annotated[int, Field(ge=1)] = 7
    """Newest snapshots to keep."""
    daily: _Count = 7
    """Days of which one snapshot is kept."""
    weekly: _Count = 4
    """Weeks of which one snapshot is kept."""
    monthly: _Count = 6
    """Months of which one snapshot is kept."""


class BackupTable(Table):
    """A backup that is defined once and runs on each of its hosts."""

    hosts: Annotated[list[HostPattern], Field(min_length=1)] = ["*"]
    """Host patterns."""
    sources: Annotated[list[AbsolutePath], Field(min_length=1)]
    """Directories or files to copy."""
    destination: AbsolutePath
    """Directory for the copies; each host and backup has its own below it."""
    kind: Literal["snapshot", "mirror"] = "snapshot"
    """Dated copies of which each is complete, or one copy in which deletions follow the source."""
    queue: Word = "backup"
    """Queue that carries it; must be per host."""
    excludes: list[str] = []
    """rsync exclude patterns; one that begins with `/` is a path of the host."""
    one_file_system: bool = True
    """Do not cross into other mounts."""
    bandwidth_limit: Size | None = None
    """Bytes per second."""
    restore_dir: AbsolutePath | None = None
    """Restores that arrive as messages write only below this directory; refused when left out."""
    retention: RetentionTable = RetentionTable()
    max_age: Duration = 93_600
    """Alert when the last success is older."""
    min_files: _Count = 1
    """Refuse a run that finds fewer files in the sources."""
    max_delete: _Count = 1000
    """Mirror only: refuse a run that would delete more files."""


class SmtpTable(Table):
    """An SMTP submission server."""

    host: Address
    """Where it is reached."""
    port: _Port | None = None
    """TCP port; 587, or 465 for `tls` and 25 for `none`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the conversation is protected; `none` on loopback only."""
    user: Line | None = None
    """User name for AUTH."""
    password: Reference | None = None
    """Its password."""
    ca: AbsolutePath | None = None
    """CA bundle (PEM); the system's when left out."""
    timeout: Timeout = 30.0
    """How long one step of the conversation may take."""


class SendGridTable(Table):
    """SendGrid's v3 HTTP API."""

    api_key: Reference
    """The API key."""
    url: str = "https://api.sendgrid.com"
    """Base URL."""
    timeout: Timeout = 30.0
    """How long to wait for an answer."""


class MailTable(Table):
    """How mail leaves the fleet: by SMTP or by SendGrid."""

    sender: Annotated[Line, Field(alias="from")]
    """Address or `Name <address>`."""
    templates: Line
    """Directory with `NAME.subject.txt`, `NAME.txt` and optionally `NAME.html`; beside the fleet file."""
    smtp: SmtpTable | None = None
    sendgrid: SendGridTable | None = None
    queue: Word = "email"
    """Queue that carries it."""
    max_attempts: Annotated[int, Field(ge=1)] = 12
    """Attempts before a transient failure is final."""
    retry_base: Duration = 30
    """First retry delay; doubles up to `retry_max`, with jitter."""
    retry_max: Duration = 14_400
    """Longest retry delay."""
    on_unknown: Literal["hold", "retry"] = "hold"
    """After a lost answer: keep the mail in the dead-letter queue, or send it again, perhaps twice."""


class UrlTable(Table):
    """A URL that `fleet.check_urls` asks for."""

    url: str
    """An http or https URL."""
    timeout: Timeout = 10.0
    """How long to wait for the answer."""
    expect_status: Annotated[int, Field(ge=100, le=599)] = 200
    """Status that counts as up."""


class ScheduleTable(Table):
    """A task that beat sends on time."""

    task: Word | None = None
    """Task name; left out when `backup` is given."""
    backup: Word | None = None
    """Short for the task `fleet.backup` of this backup on its hosts."""
    crontab: Line | None = None
    """Five fields, such as `30 7 * * mon`."""
    every: Duration | None = None
    """Interval, instead of `crontab`."""
    kwargs: dict[str, object] = {}
    """Keyword arguments of the task."""
    hosts: list[HostPattern] = []
    """Host patterns, for a queue that is per host; by default the hosts of `backup`."""
    jitter: Window = 0
    """Each host's run is shifted by a fixed part of this window."""
    grace: Window = 300
    """How late a run may be before it is given up and an alert fires."""


class TasksTable(Table):
    """The operator's own Celery tasks."""

    imports: list[Word] = []
    """Modules that define them."""
    routes: dict[Word, Word] = {}
    """Task name or glob = queue; the first match wins."""


class FleetFile(Table):
    """A fleet file."""

    fleet: FleetTable = FleetTable()
    broker: BrokerTable
    hosts: Annotated[dict[HostName, HostTable], Field(min_length=1)]
    queues: dict[Name, QueueTable] = {}
    workers: dict[Name, WorkerTable] = {}
    backups: dict[Name, BackupTable] = {}
    mail: MailTable | None = None
    urls: dict[Name, UrlTable] = {}
    schedule: dict[Name, ScheduleTable] = {}
    tasks: TasksTable = TasksTable()
