"""How do changes become the definitions document that makes them?"""

from collections.abc import Callable, Iterable

from provisioning.broker.definitions import QUEUE_TYPE
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
from provisioning.broker.passwords import SHA256, Password, PasswordHash
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
        section, entry = _entry(resource, before=before, salt=salt)
        sections.setdefault(section, []).append(entry)
    return sections


def _entry(
    resource: Resource, *, before: Resource | None, salt: Callable[[], bytes]
) -> tuple[str, dict[str, object]]:
    match resource:
        case Vhost():
            return "vhosts", {"name": resource.name}
        case User():
            return "users", _user_entry(resource, before=before, salt=salt)
        case TopicPermission():
            return "topic_permissions", _grant_entry(resource) | {"exchange": resource.exchange}
        case Permission():
            return "permissions", _grant_entry(resource) | {"configure": resource.configure}
        case Policy():
            return "policies", _policy_entry(resource)
        case Exchange():
            return "exchanges", _lasting_entry(resource) | {"type": resource.type, "internal": False}
        case Queue():
            return "queues", _queue_entry(resource)
        case Binding():
            return "bindings", _binding_entry(resource)
    raise MalformedDefinitions(f"definitions cannot hold {resource.label}")


def _user_entry(user: User, *, before: Resource | None, salt: Callable[[], bytes]) -> dict[str, object]:
    stored = _hash_to_store(user, before if isinstance(before, User) else None, salt)
    return {
        "name": user.name,
        "tags": list(user.tags),
        "password_hash": stored.salted if stored else "",
        # Without it the server assumes the algorithm that it is configured for now.
        "hashing_algorithm": stored.algorithm if stored else SHA256,
    }


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
