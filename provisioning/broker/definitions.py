"""Which objects does a definitions document (JSON, as a broker exports it) hold?

Both doors read and write this one form: https://www.rabbitmq.com/docs/definitions
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from provisioning.broker.objects import (
    USUAL_QUEUE_TYPE,
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
from provisioning.broker.parameters import (
    BROKERS_OWN_PARAMETERS,
    OPERATOR_POLICY,
    VHOST_LIMITS,
    GlobalParameter,
    Json,
    Parameter,
)
from provisioning.broker.passwords import SHA256, Password, PasswordHash
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.errors import MalformedDefinitions

QUEUE_TYPE = "x-queue-type"
#: how RabbitMQ 3.10 says that a vhost has no default queue type
UNDEFINED = "undefined"

_Entry = Mapping[str, object]
_T = TypeVar("_T", str, bool, int)


def parse(document: object, *, queue_type: str = USUAL_QUEUE_TYPE) -> State:
    """Return the objects of a definitions document; keys that provisioning does not manage are passed over.

    Internal exchanges and the cluster's id are passed over too, because ``rabbitmqctl`` leaves them out of
    its export. A queue that names no type gets ``queue_type``.
    Raises MalformedDefinitions with the section, the entry and the key.
    """
    if not isinstance(document, Mapping):
        raise MalformedDefinitions(f"definitions are a JSON object, not {type(document).__name__}")
    parameters = tuple(_section(document, "parameters"))
    limits = {_text(e, "vhost"): _arguments(e, "value") for e in parameters if _is_of(e, VHOST_LIMITS)}
    return State(
        vhosts=tuple(_vhost(e, limits) for e in _section(document, "vhosts")),
        users=tuple(_user(e) for e in _section(document, "users")),
        topic_permissions=tuple(_topic_permission(e) for e in _section(document, "topic_permissions")),
        permissions=tuple(_permission(e) for e in _section(document, "permissions")),
        policies=tuple(_policy(e) for e in _section(document, "policies")),
        operator_policies=tuple(_operator_policy(e) for e in parameters if _is_of(e, OPERATOR_POLICY)),
        parameters=tuple(_parameter(e) for e in parameters if not _is_of(e, VHOST_LIMITS, OPERATOR_POLICY)),
        global_parameters=tuple(
            GlobalParameter(name=_text(e, "name"), value=Json(e.get("value")))
            for e in _section(document, "global_parameters")
            if e.get("name") not in BROKERS_OWN_PARAMETERS
        ),
        exchanges=tuple(_exchange(e) for e in _section(document, "exchanges") if not e.get("internal")),
        queues=tuple(_queue(e, queue_type) for e in _section(document, "queues")),
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
    # In places the broker exports empty arguments as [], and others as a list of pairs.
    value = entry.get(key) or {}
    if isinstance(value, list):
        value = Json(value).plain()
    if not isinstance(value, Mapping):
        raise MalformedDefinitions(
            f"definitions: `{key}` of {entry.get('name', 'an entry')} is not an object"
        )
    return Arguments(value)


def _vhost(entry: _Entry, limits: Mapping[str, Arguments]) -> Vhost:
    """Return a vhost; what the document says nothing of is None, for RabbitMQ 3.10 exports names only."""
    name, metadata = _text(entry, "name"), entry.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise MalformedDefinitions(f"definitions: `metadata` of {name} is not an object")
    said = {**metadata, **{key: value for key, value in entry.items() if value not in (None, UNDEFINED)}}
    return Vhost(
        name=name,
        description=_text(said, "description") if "description" in said else None,
        tags=_tags(said) if "tags" in said else None,
        default_queue_type=_default_queue_type(said),
        limits=limits.get(name, _vhost_limits(entry)),
    )


def _vhost_limits(entry: _Entry) -> Arguments | None:
    """Return the limits; ``[]`` says nothing: brokers export it beside a parameter that has them."""
    return None if entry.get("limits") in (None, [], UNDEFINED) else _arguments(entry, "limits")


def _default_queue_type(said: _Entry) -> str | None:
    """Return the type; a broker that tells a vhost's tags but no type has the usual one."""
    if said.get("default_queue_type") not in (None, UNDEFINED):
        return _text(said, "default_queue_type")
    return None


def _tags(entry: _Entry) -> tuple[str, ...]:
    tags = entry.get("tags", ())
    parts = tags.split(",") if isinstance(tags, str) else tags
    if not isinstance(parts, Sequence):
        raise MalformedDefinitions(f"definitions: `tags` of {entry.get('name')} is not a list")
    return tuple(str(tag).strip() for tag in parts if tag)


def _user(entry: _Entry) -> User:
    return User(
        name=_text(entry, "name"),
        tags=_tags(entry),
        password=_password(entry),
        limits=_arguments(entry, "limits") if "limits" in entry else None,
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


def _is_of(entry: _Entry, *components: str) -> bool:
    return entry.get("component") in components


def _operator_policy(entry: _Entry) -> OperatorPolicy:
    value = _arguments(entry, "value")
    return OperatorPolicy(
        vhost=_text(entry, "vhost"),
        name=_text(entry, "name"),
        pattern=_text(value, "pattern"),
        apply_to=_text(value, "apply-to", "all"),
        priority=_value(value, "priority", int, 0),
        definition=_arguments(value, "definition"),
    )


def _parameter(entry: _Entry) -> Parameter:
    return Parameter(
        vhost=_text(entry, "vhost"),
        component=_text(entry, "component"),
        name=_text(entry, "name"),
        value=Json(entry.get("value")),
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


def _queue(entry: _Entry, queue_type: str) -> Queue:
    arguments = dict(_arguments(entry, "arguments"))
    return Queue(
        vhost=_text(entry, "vhost"),
        name=_text(entry, "name"),
        type=str(arguments.pop(QUEUE_TYPE, queue_type)),
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
