"""What is there to do: backups, mail, URL checks, the schedule, the operator's own tasks?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fleet.model.secret import SecretRef

#: tasks that ship with fleet
BACKUP_TASK = "fleet.backup"
RESTORE_TASK = "fleet.restore"
SEND_MAIL_TASK = "fleet.send_mail"
CHECK_URLS_TASK = "fleet.check_urls"
BUILT_IN_TASKS = (BACKUP_TASK, RESTORE_TASK, SEND_MAIL_TASK, CHECK_URLS_TASK)


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
