"""A broker in memory, as far as provisioning sees one; ``tests/contract`` compares it with a real one."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from provisioning.apply import Observation
from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.passwords import Password
from provisioning.broker.state import State
from provisioning.errors import ChangeRefused
from provisioning.plan import Action, Change, Connection, Contents, Identity, Resource

SALT = b"salt"


class ModelDoor:
    """A door to a broker that is a dictionary."""

    staleness_seconds = 0.0

    def __init__(
        self, resources: Iterable[Resource] = (), *, broken: frozenset[Identity] = frozenset()
    ) -> None:
        self.objects = {resource.identity: stored(resource) for resource in resources}
        self.held: dict[Identity, Contents] = {}
        #: identities of objects that refuse every change
        self.broken = broken
        self.requests: list[Change] = []
        self.clients: list[Connection] = []

    def observe(self) -> Observation:
        return Observation(resources=tuple(self.objects.values()), version=(3, 10, 8))

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        empty = Contents(messages=0, consumers=0)
        return {r.identity: self.held.get(r.identity, empty) for r in resources if isinstance(r, Queue)}

    def refusal(self, change: Change) -> str | None:
        return None

    def connections(self, holders: Collection[tuple[str, str]]) -> Sequence[Connection]:
        return [c for c in self.clients if (c.user, c.vhost) in holders]

    def disconnect(self, connection: Connection) -> None:
        self.clients.remove(connection)

    def perform(self, batch: Sequence[Change]) -> None:
        for change in batch:
            self._perform(change)

    def _perform(self, change: Change) -> None:
        if change.identity in self.broken:
            raise ChangeRefused(f"{change.resource.label} is broken")
        self.requests.append(change)
        if change.action in (Action.DELETE, Action.REPLACE):
            self._delete(change.identity)
        if change.after is not None:
            missing = [need for need in change.after.requires if need not in self.objects]
            if missing:
                raise ChangeRefused(f"{change.resource.label} needs {missing}")
            self.objects[change.identity] = stored(change.after)

    def _delete(self, identity: Identity) -> None:
        self.objects.pop(identity)
        self.objects = {i: r for i, r in self.objects.items() if identity not in r.requires}


def stored(resource: Resource) -> Resource:
    """Return the object as the broker keeps it: a password only as its hash."""
    if isinstance(resource, User) and isinstance(resource.password, Password):
        return User(name=resource.name, tags=resource.tags, password=resource.password.hashed(salt=SALT))
    return resource


def state(resources: Iterable[Resource], *, mark: str | None = None, keep: tuple[str, ...] = ()) -> State:
    """Return a state that holds ``resources``."""
    found = tuple(resources)

    return State(
        vhosts=tuple(r for r in found if isinstance(r, Vhost)),
        users=tuple(r for r in found if isinstance(r, User)),
        topic_permissions=tuple(r for r in found if isinstance(r, TopicPermission)),
        permissions=tuple(r for r in found if isinstance(r, Permission)),
        policies=tuple(r for r in found if isinstance(r, Policy)),
        exchanges=tuple(r for r in found if isinstance(r, Exchange)),
        queues=tuple(r for r in found if isinstance(r, Queue)),
        bindings=tuple(r for r in found if isinstance(r, Binding)),
        mark=mark,
        keep=keep,
    )
