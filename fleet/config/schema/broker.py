"""What may stand in [broker]?"""

from typing import Annotated, Literal

from pydantic import Field

from fleet.config.schema.table import Table
from fleet.config.values import AbsolutePath, Duration, HostOverSsh, Line, Name, Reference, Word
from fleet.model import Profile


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

    url: str | None = None
    """Base URL, such as `https://mq1:15671`."""
    urls: list[str] = Field(default=[])
    """Base URLs of several nodes of one cluster, instead of `url`; tried in turn."""
    user: Word
    """A broker user with the tag `administrator`."""
    password: Reference
    """Its password."""
    ca: AbsolutePath | None = None
    """CA bundle (PEM); the system's when left out."""
    cert: AbsolutePath | None = None
    """Client certificate (PEM), where the API asks for one."""
    key: AbsolutePath | None = None
    """Client key (PEM)."""


class UserTable(Table):
    """A further broker user with one role."""

    role: Literal["publisher", "scheduler", "observer", "operator", "monitor"]
    """Enqueue, send the schedule (beat), read outcomes, control workers and dead letters, or see the API."""
    password: Reference
    """The user's password."""
    password_hash: Reference | None = None
    """Its hash, as RabbitMQ keeps it; provisioning then sets the hash, and needs no password."""
    queues: list[Word] = Field(default=[])
    """Publisher only: the queues it may publish to; all when left out."""


class BrokerTable(Table):
    """The broker: RabbitMQ with every promise, or Redis as a reduced profile."""

    url: str | None = None
    """Address of one broker: `amqp://host:5672`, `amqps://host:5671` or `redis://host:6379/0`."""
    nodes: list[str] = Field(default=[])
    """Addresses of several nodes of one RabbitMQ cluster, instead of `url`."""
    vhost: Line | None = None
    """RabbitMQ vhost; `celery` when left out."""
    user: Word | None = None
    """The fleet's own broker user; `celery` when left out."""
    password: Reference | None = None
    """Its password; RabbitMQ needs one."""
    password_hash: Reference | None = None
    """Hash of that password, as RabbitMQ keeps it; provisioning then sets the hash, and needs no password."""
    profile: Profile = Field(default=Profile.LEAST_PRIVILEGE, strict=False)
    """The fleet's own user may do what workers need, or everything; or each host has users of its own."""
    host_password: Line | None = None
    """With `per-host`: where each host's password is, such as `file:/etc/fleet/{host}.password`."""
    tls: TlsTable | None = None
    management: ManagementTable | None = None
    rabbitmqctl: Annotated[list[Line], Field(min_length=1)] | None = None
    """Command that starts rabbitmqctl, for provisioning without the management plugin."""
    rabbitmqctl_host: HostOverSsh | None = None
    """The broker's host, `[user@]host[:port]`, on which it is started as root over SSH; this machine else."""
    users: dict[Name, UserTable] = Field(default={})
    visibility_timeout: Duration | None = None
    """Redis only: how long a message may stay unacknowledged; must exceed the longest task."""
    result_backend: str | None = None
    """Redis URL without password for results, such as `redis://127.0.0.1:6379/1`."""
    result_password: Reference | None = None
    """Password of the result backend."""
