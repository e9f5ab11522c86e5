"""What was seen of a broker? ``None`` stands for what could not be seen; ``unseen`` says why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from fleet.model import Fleet
from provisioning.broker.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """A member of the cluster, as the others see it."""

    name: str
    is_running: bool = True
    #: kinds of alarm that hold publishers back: ``memory``, ``disk``
    alarms: tuple[str, ...] = ()
    #: nodes that it has lost touch with although they run
    partitions: tuple[str, ...] = ()
    keeps_on_disk: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFact:
    """A queue of the fleet's vhost as it is now."""

    name: str
    type: str = "classic"
    durable: bool = True
    exclusive: bool = False
    #: nodes that hold a copy (quorum queues and streams)
    members: tuple[str, ...] = ()
    #: those of them that take part now
    online: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a node's own configuration says."""

    #: longest that a consumer may hold a message; None means for ever
    consumer_timeout_seconds: float | None
    #: users that may log in from the node's own machine only
    loopback_users: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address of the fleet file, and how it answered."""

    #: such as ``mq1:5671``
    address: str
    #: why no connection came about; None when it did
    error: str | None = None
    #: it is to be reached over TLS
    tls: bool = False
    #: end of the certificate that it shows; None without TLS, or where none was seen
    certificate_end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFile:
    """A certificate that the fleet file names."""

    name: str
    #: None when the file could not be read
    end: datetime | None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorFact:
    """A way into the broker, and whether it opened."""

    #: ``http`` or ``rabbitmqctl``
    name: str
    error: str | None = None
    hint: str | None = None
    #: somebody answered, if only to refuse
    is_answered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen of a fleet's broker at one moment."""

    now: datetime
    fleet: Fleet
    doors: tuple[DoorFact, ...] = ()
    #: AMQP addresses, and the management API's
    endpoints: tuple[Endpoint, ...] = ()
    certificate_files: tuple[CertificateFile, ...] = ()
    #: such as ``(3, 10, 8)``
    version: tuple[int, ...] | None = None
    #: everything that the broker holds
    state: State | None = None
    nodes: tuple[NodeFact, ...] | None = None
    #: queues of the fleet's vhost
    queues: tuple[QueueFact, ...] | None = None
    #: channels of the fleet's vhost with a prefetch for all their consumers together
    global_prefetch_channels: int | None = None
    settings: Settings | None = None
    #: the broker's clock minus this machine's
    clock_offset_seconds: float | None = None
    #: deprecated features that the broker itself says are in use; () before RabbitMQ 3.13
    deprecated_in_use: tuple[str, ...] | None = None
    #: field → why it could not be seen
    unseen: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def vhost(self) -> str:
        """The fleet's vhost."""
        return self.fleet.broker.vhost
