"""What may stand in the tables of backups, mail, URLs, the schedule and the operator's own tasks?"""

from typing import Annotated, Literal

from pydantic import Field

from fleet.config.schema.table import Table
from fleet.config.values import (
    AbsolutePath,
    Address,
    Duration,
    HostPattern,
    Line,
    Reference,
    Size,
    Timeout,
    Window,
    Word,
)

_Port = Annotated[int, Field(ge=1, le=65535)]
_Count = Annotated[int, Field(ge=0)]


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

    hosts: Annotated[list[HostPattern], Field(min_length=1)] = Field(default=["*"])
    """Host patterns."""
    sources: Annotated[list[AbsolutePath], Field(min_length=1)]
    """Directories or files to copy."""
    destination: AbsolutePath
    """Directory for the copies; each host and backup has its own below it."""
    kind: Literal["snapshot", "mirror"] = "snapshot"
    """Dated copies of which each is complete, or one copy in which deletions follow the source."""
    queue: Word = "backup"
    """Queue that carries it; must be per host."""
    excludes: list[Line] = Field(default=[])
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
    kwargs: dict[str, object] = Field(default={})
    """Keyword arguments of the task."""
    hosts: list[HostPattern] = Field(default=[])
    """Host patterns, for a queue that is per host; by default the hosts of `backup`."""
    jitter: Window = 0
    """Each host's run is shifted by a fixed part of this window."""
    grace: Window = 300
    """How late a run may be before it is given up and an alert fires."""


class TasksTable(Table):
    """The operator's own Celery tasks."""

    imports: list[Word] = Field(default=[])
    """Modules that define them."""
    routes: dict[Word, Word] = Field(default={})
    """Task name or glob = queue; the first match wins."""
