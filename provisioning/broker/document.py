"""How do changes become the definitions document that makes them?"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from provisioning.broker.definitions import QUEUE_TYPE
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
from provisioning.broker.parameters import OPERATOR_POLICY, VHOST_LIMITS, GlobalParameter, Parameter
from provisioning.broker.passwords import SHA256, Password, PasswordHash
from provisioning.broker.resource import NO_ARGUMENTS
from provisioning.broker.state import State
from provisioning.errors import MalformedDefinitions
from provisioning.plan import Change, Resource

#: section → entries
Document = dict[str, list[dict[str, object]]]


def document(changes: Iterable[Change], *, salt: Callable[[], bytes]) -> Document:
    """Return the definitions document that makes ``changes``, to be imported.

    ``salt`` returns four random bytes. A user whose password stays gets its stored hash again: the broker
    would otherwise clear it, and lock the user out.
    """
    return _collect(((c.after, c.before) for c in changes if c.after is not None), salt=salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedLimit:
    """A limit that must go: an import only ever adds limits, or changes those that it names."""

    #: the user, or the vhost
    owner: User | Vhost
    #: name of the user's limit; all of a vhost's go together
    name: str


def cleared_limits(change: Change) -> tuple[ClearedLimit, ...]:
    """Return which limits ``change`` takes away."""
    before, after = change.before, change.after
    if isinstance(before, User) and isinstance(after, User) and after.limits is not None:
        gone = [name for name in before.limits or {} if name not in after.limits]
        return tuple(ClearedLimit(owner=after, name=name) for name in gone)
    if (
        isinstance(before, Vhost)
        and isinstance(after, Vhost)
        and before.limits
        and after.limits == NO_ARGUMENTS
    ):
        return (ClearedLimit(owner=after, name="limits"),)
    return ()


def state_document(state: State) -> Document:
    """Return ``state`` as a definitions document; its passwords must be hashes or None.

    Raises MalformedDefinitions for a password in the clear, which has no place in a document.
    """
    for user in state.users:
        if isinstance(user.password, Password):
            raise MalformedDefinitions(f"user {user.name} has a password in the clear")
    return _collect((resource, None) for resource in state)


def _collect(
    pairs: Iterable[tuple[Resource, Resource | None]], *, salt: Callable[[], bytes] = bytes
) -> Document:
    sections: Document = {}
    for resource, before in pairs:
        for section, entry in _entries(resource, before=before, salt=salt):
            sections.setdefault(section, []).append(entry)
    return sections


def _entries(
    resource: Resource, *, before: Resource | None, salt: Callable[[], bytes]
) -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(resource, Vhost):
        yield from _vhost_entries(resource, before if isinstance(before, Vhost) else None)
    elif isinstance(resource, User):
        yield "users", _user_entry(resource, before=before, salt=salt)
    else:
        yield _entry(resource)


def _vhost_entries(vhost: Vhost, before: Vhost | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the vhost and its limits, where they differ: an import resets what a vhost's entry leaves out."""
    wanted, there = vhost.over(before), before.over(None) if before else None
    if there is None or replace(wanted, limits=there.limits) != there:
        metadata: dict[str, object] = {"description": wanted.description, "tags": list(wanted.tags or ())}
        if vhost.default_queue_type is not None:
            metadata["default_queue_type"] = vhost.default_queue_type
        yield "vhosts", {"name": vhost.name, **metadata, "metadata": metadata}
    if wanted.limits and (there is None or wanted.limits != there.limits):
        limits = {"component": VHOST_LIMITS, "name": "limits", "vhost": vhost.name}
        yield "parameters", limits | {"value": dict(wanted.limits)}


def _entry(resource: Resource) -> tuple[str, dict[str, object]]:
    match resource:
        case TopicPermission():
            return "topic_permissions", _grant_entry(resource) | {"exchange": resource.exchange}
        case Permission():
            return "permissions", _grant_entry(resource) | {"configure": resource.configure}
        case Policy():
            return "policies", _policy_entry(resource)
        case OperatorPolicy():
            return "parameters", _operator_policy_entry(resource)
        case Parameter():
            return "parameters", _parameter_entry(resource)
        case GlobalParameter():
            return "global_parameters", {"name": resource.name, "value": resource.value.value}
        case Exchange():
            return "exchanges", _lasting_entry(resource) | {"type": resource.type, "internal": False}
        case Queue():
            return "queues", _queue_entry(resource)
        case Binding():
            return "bindings", _binding_entry(resource)
    raise MalformedDefinitions(f"definitions cannot hold {resource.label}")


def _user_entry(user: User, *, before: Resource | None, salt: Callable[[], bytes]) -> dict[str, object]:
    stored = _hash_to_store(user, before if isinstance(before, User) else None, salt)
    entry: dict[str, object] = {
        "name": user.name,
        "tags": list(user.tags),
        "password_hash": stored.salted if stored else "",
        # Without it the server assumes the algorithm that it is configured for now.
        "hashing_algorithm": stored.algorithm if stored else SHA256,
    }
    return entry | ({} if user.limits is None else {"limits": dict(user.limits)})


def _hash_to_store(user: User, before: User | None, salt: Callable[[], bytes]) -> PasswordHash | None:
    if before is not None and not user.password_differs(before):
        kept = before.password
        return kept if isinstance(kept, PasswordHash) else None
    if isinstance(user.password, Password):
        return user.password.hashed(salt=salt())
    return user.password


def _grant_entry(grant: Permission | TopicPermission) -> dict[str, object]:
    return {"vhost": grant.vhost, "user": grant.user, "write": grant.write, "read": grant.read}


def _policy_entry(policy: Policy) -> dict[str, object]:
    return {
        "vhost": policy.vhost,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
    }


def _operator_policy_entry(policy: OperatorPolicy) -> dict[str, object]:
    value = {
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
    }
    return {"component": OPERATOR_POLICY, "vhost": policy.vhost, "name": policy.name, "value": value}


def _parameter_entry(parameter: Parameter) -> dict[str, object]:
    return {
        "vhost": parameter.vhost,
        "component": parameter.component,
        "name": parameter.name,
        "value": parameter.value.value,
    }


def _lasting_entry(resource: Exchange | Queue) -> dict[str, object]:
    return {
        "vhost": resource.vhost,
        "name": resource.name,
        "durable": resource.durable,
        "auto_delete": resource.auto_delete,
        "arguments": dict(resource.arguments),
    }


def _queue_entry(queue: Queue) -> dict[str, object]:
    return _lasting_entry(queue) | {"arguments": {QUEUE_TYPE: queue.type, **queue.arguments}}


def _binding_entry(binding: Binding) -> dict[str, object]:
    return {
        "vhost": binding.vhost,
        "source": binding.source,
        "destination": binding.destination,
        "destination_type": binding.destination_type,
        "routing_key": binding.routing_key,
        "arguments": dict(binding.arguments),
    }
