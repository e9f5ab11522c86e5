"""Which objects does a definitions document (JSON, as a broker exports it) hold?

Both doors read and write this one form: https://www.rabbitmq.com/docs/definitions
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

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
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.errors import MalformedDefinitions

QUEUE_TYPE = "x-queue-type"

_Entry = Mapping[str, object]
_T = TypeVar("_T", str, bool, int)


def parse(document: object) -> State:
    """Return the objects of a definitions document; keys that provisioning does not manage are passed over.

    Internal exchanges are passed over too, because ``rabbitmqctl`` leaves them out of its export.
    Raises MalformedDefinitions with the section, the entry and the key.
    """
    if not isinstance(document, Mapping):
        raise MalformedDefinitions(f"definitions are a JSON object, not {type(document).__name__}")
    return State(
        vhosts=tuple(Vhost(name=_text(e, "name")) for e in _section(document, "vhosts")),
        users=tuple(_user(e) for e in _section(document, "users")),
        topic_permissions=tuple(_topic_permission(e) for e in _section(document, "topic_permissions")),
        permissions=tuple(_permission(e) for e in _section(document, "permissions")),
        policies=tuple(_policy(e) for e in _section(document, "policies")),
        exchanges=tuple(_exchange(e) for e in _section(document, "exchanges") if not e.get("internal")),
        queues=tuple(_queue(e) for e in _section(document, "queues")),
        bindings=tuple(_binding(e) for e in _section(document, "bindings")),
    )


def version(document: Mapping[str, object]) -> tuple[int, ...]:
    """Return the broker's version, such as ``(3, 10, 8)``; empty when the document does not say."""
    text = str(document.get("rabbitmq_version") or document.get("rabbit_version") or "")
    parts = text.split("+")[0].split("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())


def _section(document: _Entry, name: str) -> Iterator[_Entry]:
    entries = document.get(name, [])
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise MalformedDefinitions(f"definitions: `{name}` is not a list")
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise MalformedDefinitions(f"definitions: `{name}` holds {entry!r}, which is not an object")
        yield entry


def _value(entry: _Entry, key: str, kind: type[_T], default: _T | None = None) -> _T:
    value = entry.get(key, default)
    if not isinstance(value, kind):
        # The entry may be a user with a hash, so only its name is told.
        raise MalformedDefinitions(
            f"definitions: `{key}` of {entry.get('name', 'an entry')} is missing or wrong"
        )
    return value


def _text(entry: _Entry, key: str, default: str | None = None) -> str:
    return _value(entry, key, str, default)


def _arguments(entry: _Entry, key: str) -> Arguments:
    # The broker exports empty arguments as [] in places.
    value = entry.get(key) or {}
    if not isinstance(value, Mapping):
        raise MalformedDefinitions(
            f"definitions: `{key}` of {entry.get('name', 'an entry')} is not an object"
        )
    return Arguments(value)


def _user(entry: _Entry) -> User:
    tags = entry.get("tags", ())
    parts = tags.split(",") if isinstance(tags, str) else tags
    if not isinstance(parts, Sequence):
        raise MalformedDefinitions(f"definitions: `tags` of user {entry.get('name')} is not a list")
    return User(
        name=_text(entry, "name"),
        tags=tuple(str(tag).strip() for tag in parts if tag),
        password=_password(entry),
    )


def _password(entry: _Entry) -> Password | PasswordHash | None:
    if clear := _text(entry, "password", ""):
        return Password(clear)
    salted = _text(entry, "password_hash", "")
    return (
        PasswordHash(salted=salted, algorithm=_text(entry, "hashing_algorithm", SHA256)) if salted else None
    )


def _topic_permission(entry: _Entry) -> TopicPermission:
    return TopicPermission(
        vhost=_text(entry, "vhost"),
        user=_text(entry, "user"),
        exchange=_text(entry, "exchange"),
        write=_text(entry, "write"),
        read=_text(entry, "read"),
    )


def _permission(entry: _Entry) -> Permission:
    return Permission(
        vhost=_text(entry, "vhost"),
        user=_text(entry, "user"),
        configure=_text(entry, "configure"),
        write=_text(entry, "write"),
        read=_text(entry, "read"),
    )


def _policy(entry: _Entry) -> Policy:
    return Policy(
        vhost=_text(entry, "vhost"),
        name=_text(entry, "name"),
        pattern=_text(entry, "pattern"),
        apply_to=_text(entry, "apply-to", "all"),
        priority=_value(entry, "priority", int, 0),
        definition=_arguments(entry, "definition"),
    )


def _exchange(entry: _Entry) -> Exchange:
    return Exchange(
        vhost=_text(entry, "vhost"),
        name=_text(entry, "name"),
        type=_text(entry, "type"),
        durable=_value(entry, "durable", bool, True),  # noqa: FBT003 - the default of the value
        auto_delete=_value(entry, "auto_delete", bool, False),  # noqa: FBT003 - the default of the value
        arguments=_arguments(entry, "arguments"),
    )


def _queue(entry: _Entry) -> Queue:
    arguments = dict(_arguments(entry, "arguments"))
    return Queue(
        vhost=_text(entry, "vhost"),
        name=_text(entry, "name"),
        type=str(arguments.pop(QUEUE_TYPE, "classic")),
        durable=_value(entry, "durable", bool, True),  # noqa: FBT003 - the default of the value
        auto_delete=_value(entry, "auto_delete", bool, False),  # noqa: FBT003 - the default of the value
        arguments=Arguments(arguments),
    )


def _binding(entry: _Entry) -> Binding:
    return Binding(
        vhost=_text(entry, "vhost"),
        source=_text(entry, "source"),
        destination=_text(entry, "destination"),
        destination_type=_text(entry, "destination_type", "queue"),
        routing_key=_text(entry, "routing_key", ""),
        arguments=_arguments(entry, "arguments"),
    )
