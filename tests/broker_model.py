"""A broker in memory, as far as provisioning sees one; ``tests/contract`` compares it with a real one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from provisioning.apply import Observation
from provisioning.broker.objects import (
    Queue,
    User,
    Vhost,
)
from provisioning.broker.passwords import Password
from provisioning.broker.resource import NO_ARGUMENTS
from provisioning.broker.state import State
from provisioning.errors import ChangeRefused
from provisioning.plan import Action, Change, Connection, Contents, Identity, Resource

SALT = b"salt"


class ModelDoor:
    """A door to a broker that is a dictionary."""

    staleness_seconds = 0.0

    def __init__(
        self,
        resources: Iterable[Resource] = (),
        *,
        broken: frozenset[Identity] = frozenset(),
        version: tuple[int, ...] = (3, 10, 8),
    ) -> None:
        self.version = version
        self.objects = {resource.identity: stored(resource) for resource in resources}
        self.held: dict[Identity, Contents] = {}
        #: identities of objects that refuse every change
        self.broken = broken
        self.requests: list[Change] = []
        self.clients: list[Connection] = []

    def observe(self) -> Observation:
        return Observation(resources=tuple(self.objects.values()), version=self.version)

    def contents(self, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
        empty = Contents(messages=0, consumers=0)
        return {r.identity: self.held.get(r.identity, empty) for r in resources if isinstance(r, Queue)}

    def refusal(self, change: Change) -> str | None:
        return None

    def besides(self, _change: Change) -> str | None:
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
            self.objects[change.identity] = stored(change.after, change.before)

    def _delete(self, identity: Identity) -> None:
        self.objects.pop(identity)
        self.objects = {i: r for i, r in self.objects.items() if identity not in r.requires}


def stored(resource: Resource, before: Resource | None = None) -> Resource:
    """Return the object as the broker keeps it: a password only as its hash, and nothing left open."""
    if isinstance(resource, Vhost):
        return resource.over(before if isinstance(before, Vhost) else None)
    if isinstance(resource, User):
        return _stored_user(resource, before if isinstance(before, User) else None)
    return resource


def _stored_user(user: User, before: User | None) -> User:
    password, limits = user.password, user.limits
    if isinstance(password, Password):
        password = password.hashed(salt=SALT)
    if before is not None:
        password = before.password if not user.password_differs(before) else password
        limits = before.limits if limits is None else limits
    return replace(user, password=password, limits=limits or NO_ARGUMENTS)


def state(resources: Iterable[Resource], *, mark: str | None = None, keep: tuple[str, ...] = ()) -> State:
    """Return a state that holds ``resources``."""
    return State.of(resources, mark=mark, keep=keep)
