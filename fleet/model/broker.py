"""Which broker carries the fleet, and how is it reached?"""

from dataclasses import dataclass
from enum import StrEnum

from fleet.model.secret import SecretRef

#: role of the broker user as whom beat logs in
SCHEDULER = "scheduler"
#: first version of RabbitMQ whose policies can say how long a consumer may hold a message
CONSUMER_TIMEOUT_SINCE = (3, 12)
#: first version that may refuse queues which are neither durable nor of one connection
SHARED_TRANSIENT_UNTIL = (4, 0)


class Profile(StrEnum):
    """How much the fleet's broker user may do, and whether each host has users of its own."""

    LEAST_PRIVILEGE = "least-privilege"
    PER_HOST = "per-host"
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

    #: base URLs of its nodes, such as ``https://mq1:15671``, at least one; tried in turn
    urls: tuple[str, ...]
    #: a user with the tag ``administrator``
    user: str
    password: SecretRef
    #: CA bundle (PEM) path; None means the system's
    ca: str | None = None
    #: client certificate and key (PEM) paths
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUser:
    """A further broker user with a role of its own."""

    name: str
    #: ``publisher`` may only enqueue, ``scheduler`` only where the schedule sends to, ``observer`` only read
    #: the journal, ``operator`` control workers and deal with dead letters, ``monitor`` only look at the
    #: management API
    role: str
    password: SecretRef
    #: the hash of that password as the broker keeps it; provisioning then needs no password
    password_hash: SecretRef | None = None
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
    #: the hash of that password as the broker keeps it; provisioning then needs no password
    password_hash: SecretRef | None = None
    profile: Profile = Profile.LEAST_PRIVILEGE
    tls: Tls | None = None
    management: Management | None = None
    #: argv that starts rabbitmqctl (the CLI door), such as ("/usr/lib/rabbitmq/bin/rabbitmqctl",)
    rabbitmqctl: tuple[str, ...] | None = None
    #: the broker's host on which it is started, as `[user@]host[:port]`; None: this machine
    rabbitmqctl_host: str | None = None
    users: tuple[BrokerUser, ...] = ()
    #: Redis only: must exceed the longest task, or it runs beside itself
    visibility_timeout_seconds: int | None = None
    #: optional Redis URL without password for results, such as ``redis://127.0.0.1:6379/1``
    result_backend: str | None = None
    #: password of the result backend
    result_password: SecretRef | None = None

    @property
    def scheduler(self) -> BrokerUser | None:
        """The user as whom beat logs in: the first with that role; None where it is the fleet's own."""
        return next((user for user in self.users if user.role == SCHEDULER), None)

    def host_user(self, host: str) -> str:
        """Return the user as whom the workers of ``host`` consume and are controlled."""
        return f"{self.user}-{host}" if self.profile is Profile.PER_HOST else self.user

    def host_sender(self, host: str) -> str:
        """Return the user as whom the workers of ``host`` send: no name of a host holds an underscore."""
        return f"{self.host_user(host)}_send" if self.profile is Profile.PER_HOST else self.user
