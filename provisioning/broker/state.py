"""What does a broker hold, what shall it hold, and which undeclared objects may be deleted?"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioning.broker.losses import losses
from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.parameters import GlobalParameter, Parameter
from provisioning.errors import ProtectedObject
from provisioning.plan import Change, Identity, Loss, Resource

#: the broker's own user and vhost, and the name prefix of its own objects
DEFAULT_USER = "guest"
DEFAULT_VHOST = "/"
BROKERS_OWN_PREFIX = "amq."


_KINDS: Mapping[str, type] = {
    "vhosts": Vhost,
    "users": User,
    "topic_permissions": TopicPermission,
    "permissions": Permission,
    "policies": Policy,
    "operator_policies": OperatorPolicy,
    "parameters": Parameter,
    "global_parameters": GlobalParameter,
    "exchanges": Exchange,
    "queues": Queue,
    "bindings": Binding,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a broker holds, or what it shall hold."""

    vhosts: tuple[Vhost, ...] = ()
    users: tuple[User, ...] = ()
    topic_permissions: tuple[TopicPermission, ...] = ()
    permissions: tuple[Permission, ...] = ()
    policies: tuple[Policy, ...] = ()
    operator_policies: tuple[OperatorPolicy, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    global_parameters: tuple[GlobalParameter, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()
    #: as desired: an undeclared user may be pruned only if it carries this tag
    mark: str | None = None
    #: as desired: an undeclared policy or operator policy may be pruned only if its name begins so
    policy_prefix: str = ""
    #: as desired: undeclared objects whose names match any of these expressions are left alone
    keep: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, resources: Iterable[Resource], *, mark: str | None = None, keep: tuple[str, ...] = ()
    ) -> "State":
        """Return a state that holds ``resources``, each with those of its kind."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        found: dict[str, list[Resource]] = {}
        for resource in resources:
            found.setdefault(kinds[type(resource)], []).append(resource)
        fields: dict[str, Any] = {name: tuple(each) for name, each in found.items()}
        return cls(**fields, mark=mark, keep=keep)

    def __iter__(self) -> Iterator[Resource]:
        yield from self.vhosts
        yield from self.users
        yield from self.topic_permissions
        yield from self.permissions
        yield from self.policies
        yield from self.operator_policies
        yield from self.parameters
        yield from self.global_parameters
        yield from self.exchanges
        yield from self.queues
        yield from self.bindings

    def owns(self, resource: Resource) -> bool:
        """Tell whether an undeclared object may be pruned: in a declared vhost, durable and nobody's own.

        Users are marked by a tag; policies carry none, so their names are the mark. A plugin's parameters are
        somebody else's unless some of its component are declared in that vhost.
        """
        if any(self._keeps(name) for name in _names(resource)):
            return False
        if isinstance(resource, User):
            return self.mark is not None and self.mark in resource.tags and resource.name != DEFAULT_USER
        if isinstance(resource, Policy | OperatorPolicy) and not resource.name.startswith(self.policy_prefix):
            return False
        if isinstance(resource, Parameter) and not any(map(resource.is_beside, self.parameters)):
            return False
        vhost = getattr(resource, "vhost", None)
        if all(vhost != declared.name for declared in self.vhosts) or is_protected(resource):
            return False
        return getattr(resource, "durable", True) and not getattr(resource, "auto_delete", False)

    def losses(
        self, changes: Sequence[Change], actual: Mapping[Identity, Resource]
    ) -> Mapping[Identity, Loss]:
        """Return what each of ``changes`` takes away, given what is there."""
        return losses(changes, actual)

    def _keeps(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.keep)


def is_protected(resource: Resource) -> bool:
    """Tell whether provisioning never touches this object: the default vhost and user, ``amq.*``."""
    if getattr(resource, "vhost", None) == DEFAULT_VHOST:
        return True
    if isinstance(resource, Vhost):
        return resource.name == DEFAULT_VHOST
    if isinstance(resource, User):
        return resource.name == DEFAULT_USER
    if isinstance(resource, Permission | TopicPermission):
        return resource.user == DEFAULT_USER
    return any(name == "" or name.startswith(BROKERS_OWN_PREFIX) for name in _names(resource))


def refuse_foreign(desired: State, seen: Iterable[Resource]) -> None:
    """Raise ProtectedObject when a declared user exists already and is somebody else's.

    A user is ours when it carries the mark, when it has permissions in our vhosts only (made by hand, or with
    its tags lost), or when nobody uses it: it has neither permissions nor tags.
    """
    if desired.mark is None:
        return
    actual = tuple(seen)
    ours = {vhost.name for vhost in desired.vhosts}
    declared = {user.name for user in desired.users}
    for user in actual:
        if not isinstance(user, User) or user.name not in declared or desired.mark in user.tags:
            continue
        vhosts = {row.vhost for row in actual if isinstance(row, Permission) and row.user == user.name}
        if vhosts - ours or (user.tags and not vhosts):
            raise ProtectedObject(
                f"user {user.name} exists and is not this fleet's: {_use(user, vhosts - ours)}",
                hint=f"declare another user, or hand it over by adding the tag `{desired.mark}` to it",
            )


def _use(user: User, vhosts: set[str]) -> str:
    if vhosts:
        return f"it has permissions in vhost {', '.join(sorted(vhosts))}"
    return f"it has the tags {', '.join(user.tags)}"


def refuse_protected(desired: State) -> None:
    """Raise ProtectedObject if the desired state names what provisioning never touches.

    A permission of the default user in a declared vhost may be declared: it is an object of that vhost.
    """
    for resource in desired:
        if is_protected(resource) and not _is_grant_to_default_user(resource):
            raise ProtectedObject(
                f"{resource.label} is never touched by provisioning",
                hint="declare a vhost, a user or a name of your own",
            )


def _is_grant_to_default_user(resource: Resource) -> bool:
    return isinstance(resource, Permission | TopicPermission) and resource.vhost != DEFAULT_VHOST


def _names(resource: Resource) -> tuple[str, ...]:
    """Return the names by which an object is kept."""
    if isinstance(resource, User | Exchange | Queue | Policy | OperatorPolicy | Parameter):
        return (resource.name,)
    if isinstance(resource, Permission | TopicPermission):
        return (resource.user,)
    return (resource.source, resource.destination) if isinstance(resource, Binding) else ()
