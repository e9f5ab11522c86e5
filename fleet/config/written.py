"""Which value does every key have? What is written as a fleet file declares the same fleet."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType

from fleet.config.locate import Path
from fleet.config.version import PATH, VERSION
from fleet.model import Backup, Broker, Fleet, Kind, Node, SecretRef

#: model field → key of the fleet file, where they differ by more than the unit in the field's name
_RENAMED: Mapping[str, str] = MappingProxyType(
    {"sender": "from", "url_checks": "urls", "user_tasks": "tasks"}
)
_FLEET_TABLE = ("name", "timezone", "state_dir")
#: (table, key) of what does nothing with Redis
_RABBITMQ_ONLY = frozenset(
    {
        ("broker", "profile"),
        ("queues", "delivery_limit"),
        ("queues", "max_length"),
        ("queues", "max_dead_letters"),
    }
)


def values(fleet: Fleet) -> Iterator[tuple[Path, object]]:
    """Yield every key and its value as JSON can carry it; written as a fleet file, they declare ``fleet``."""
    # Whatever the fleet was read from, it is written in this release's form.
    yield PATH, VERSION
    for name in _FLEET_TABLE:
        yield ("fleet", name), getattr(fleet, name)
    yield ("broker", "nodes"), [_url(node, fleet.broker.kind) for node in fleet.broker.nodes]
    for field in fields(fleet):
        if field.name not in (*_FLEET_TABLE, "source"):
            for path, value in _walk(getattr(fleet, field.name), (_key(field.name),)):
                if fleet.broker.kind is Kind.RABBITMQ or (path[0], path[-1]) not in _RABBITMQ_ONLY:
                    yield path, value


def _key(field: str) -> str:
    return _RENAMED.get(field) or field.removesuffix("_bytes_per_second").removesuffix("_seconds")


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if is_dataclass(value) and not isinstance(value, type | SecretRef):
        for field in fields(value):
            if field.name not in _left_out(value):
                yield from _walk(getattr(value, field.name), (*path, _key(field.name)))
    elif path == ("tasks", "routes"):
        yield from (((*path, task), queue) for task, queue in _pairs(value))
    elif isinstance(value, tuple) and value and all(hasattr(item, "name") for item in value):
        for item in value:
            yield from _walk(item, (*path, item.name))
    elif value not in (None, (), ""):
        yield path, _plain(value)


def _left_out(value: object) -> tuple[str, ...]:
    """Return the fields that are no keys, or have no effect here."""
    if isinstance(value, Broker):
        return ("name", "kind", "nodes")
    if isinstance(value, Backup):
        return ("name", "max_delete" if value.kind == "snapshot" else "retention")
    return ("name",)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    assert isinstance(value, tuple)
    return value


def _plain(value: object) -> object:
    if isinstance(value, SecretRef):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _url(node: Node, kind: Kind) -> str:
    scheme = "redis" if kind is Kind.REDIS else "amqps" if node.tls else "amqp"
    host = f"[{node.host}]" if ":" in node.host else node.host
    return f"{scheme}://{host}:{node.port}"
