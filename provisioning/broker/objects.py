"""Which objects does a broker hold, and what makes each one itself?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.resource import NO_ARGUMENTS, Arguments, BrokerObject
from provisioning.plan import FieldDiff, Identity

_T = TypeVar("_T")
#: what a queue is that names no type, where nothing else is configured
USUAL_QUEUE_TYPE = "classic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vhost(BrokerObject):
    """A virtual host. As desired, a field that is None is left as it is; the broker would reset it."""

    KIND = "vhost"
    IDENTIFYING = ("name",)
    LABEL = "vhost {name}"
    name: str
    description: str | None = None
    tags: tuple[str, ...] | None = None
    #: ``classic``, ``quorum`` or ``stream``
    default_queue_type: str | None = None
    #: ``max-connections`` and ``max-queues``
    limits: Arguments | None = None

    def over(self, actual: "Vhost | None") -> "Vhost":
        """Return this vhost with the fields of ``actual`` where its own are None."""
        under = actual or Vhost(name=self.name)
        return replace(
            self,
            description=_first(self.description, under.description, ""),
            tags=_first(self.tags, under.tags, ()),
            default_queue_type=_first(self.default_queue_type, under.default_queue_type, USUAL_QUEUE_TYPE),
            limits=_first(self.limits, under.limits, NO_ARGUMENTS),
        )

    def differences(self, actual: Self) -> tuple[FieldDiff, ...]:
        """Return the fields of ``actual`` that are not as this vhost wants them."""
        return BrokerObject.differences(self.over(actual), actual.over(None))

    def facts(self) -> Mapping[str, object]:
        """Return every field, the tags in a fixed order."""
        facts = dict(BrokerObject.facts(self))
        return facts | {"tags": None if self.tags is None else sorted(self.tags)}


@dataclass(frozen=True, slots=True, kw_only=True)
class User(BrokerObject):
    """A user of the broker's internal database."""

    KIND = "user"
    IDENTIFYING = ("name",)
    LABEL = "user {name}"
    name: str
    tags: tuple[str, ...] = ()
    #: desired in the clear or hashed; observed always hashed; None means no password (as desired: leave it)
    password: Password | PasswordHash | None = None
    #: ``max-connections`` and ``max-channels``; as desired, None leaves them
    limits: Arguments | None = None

    def differences(self, actual: Self) -> tuple[FieldDiff, ...]:
        """Return whether tags or limits differ, and whether the password does (without either value)."""
        wanted, there = self._limited(actual.limits), actual._limited(None)
        found = [d for d in BrokerObject.differences(wanted, there) if d.name != "password"]
        if self.password_differs(actual):
            found.append(FieldDiff(name="password", before=None, after=None, secret=True))
        return tuple(found)

    def _limited(self, usual: Arguments | None) -> Self:
        return replace(self, limits=_first(self.limits, usual, NO_ARGUMENTS))

    def password_differs(self, actual: Self) -> bool:
        """Tell whether the stored hash was made from another password."""
        if self.password is None or not isinstance(actual.password, PasswordHash):
            return self.password is not None
        if isinstance(self.password, Password):
            return not self.password.matches(actual.password)
        return self.password != actual.password

    def facts(self) -> Mapping[str, object]:
        """Return the tags in a fixed order, the stored hash and the limits."""
        stored = self.password
        hashed = [stored.salted, stored.algorithm] if isinstance(stored, PasswordHash) else None
        return {"tags": sorted(self.tags), "password": hashed, "limits": dict(self.limits or {})}

    def shown(self) -> Mapping[str, object]:
        """Return the tags, and limits if there are any."""
        return {"tags": sorted(self.tags)} | ({"limits": dict(self.limits)} if self.limits else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPermission(BrokerObject):
    """Which routing keys a user may write to and bind from a topic exchange; without one, all of them."""

    KIND = "topic permission"
    IDENTIFYING = ("vhost", "user", "exchange")
    LABEL = "topic permission of user {user} on exchange {exchange} in vhost {vhost}"
    vhost: str
    user: str
    exchange: str
    write: str
    read: str

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Its user."""
        return ((User.KIND, self.user),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission(BrokerObject):
    """What a user may do in a vhost, as regular expressions over names of exchanges and queues."""

    KIND = "permission"
    IDENTIFYING = ("vhost", "user")
    LABEL = "permission of user {user} in vhost {vhost}"
    vhost: str
    user: str
    configure: str
    write: str
    read: str

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Its user."""
        return ((User.KIND, self.user),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What is set for all that a pattern matches."""

    vhost: str
    name: str
    pattern: str
    #: ``queues``, ``exchanges`` or ``all`` (later versions know more)
    apply_to: str = "queues"
    priority: int = 0
    definition: Arguments = NO_ARGUMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(_Settings, BrokerObject):
    """Settings for all queues or exchanges whose names match; the one of the highest priority wins."""

    KIND = "policy"
    IDENTIFYING = ("vhost", "name")
    LABEL = "policy {name} in vhost {vhost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPolicy(_Settings, BrokerObject):
    """Bounds that the operator sets over every policy; the stricter value of the two holds."""

    KIND = "operator policy"
    IDENTIFYING = ("vhost", "name")
    LABEL = "operator policy {name} in vhost {vhost}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(BrokerObject):
    """An exchange; none of its fields can be changed in place."""

    KIND = "exchange"
    IDENTIFYING = ("vhost", "name")
    LABEL = "exchange {name} in vhost {vhost}"
    UPDATABLE = False
    vhost: str
    name: str
    type: str
    durable: bool = True
    auto_delete: bool = False
    arguments: Arguments = NO_ARGUMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(BrokerObject):
    """A queue; none of its fields can be changed in place."""

    KIND = "queue"
    IDENTIFYING = ("vhost", "name")
    LABEL = "queue {name} in vhost {vhost}"
    UPDATABLE = False
    vhost: str
    name: str
    #: ``classic``, ``quorum`` or ``stream``
    type: str
    durable: bool = True
    auto_delete: bool = False
    #: without ``x-queue-type``, which is ``type``
    arguments: Arguments = NO_ARGUMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding(BrokerObject):
    """A binding from an exchange to a queue or another exchange; all of it is its identity."""

    KIND = "binding"
    IDENTIFYING = ("vhost", "source", "destination_type", "destination", "routing_key", "arguments")
    vhost: str
    source: str
    destination: str
    #: ``queue`` or ``exchange``
    destination_type: str = "queue"
    routing_key: str = ""
    arguments: Arguments = NO_ARGUMENTS

    @property
    def requires(self) -> tuple[Identity, ...]:
        """Both its ends."""
        return (
            (Exchange.KIND, self.vhost, self.source),
            (self.destination_type, self.vhost, self.destination),
        )

    @property
    def label(self) -> str:
        """What an operator calls it."""
        arguments = f" with {self.arguments.canonical}" if self.arguments else ""
        return (
            f"binding {self.source} → {self.destination_type} {self.destination} by `{self.routing_key}`"
            f"{arguments} in vhost {self.vhost}"
        )


def _first(*values: _T | None) -> _T:
    return next(value for value in values if value is not None)
