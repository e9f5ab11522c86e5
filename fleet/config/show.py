"""Which value does every key have, and where does it come from?"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import MappingProxyType

from fleet.config.address import split
from fleet.config.locate import Path, locate
from fleet.config.problems import dotted
from fleet.config.schema import FleetFile
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of the fleet and its origin."""

    #: dotted key path
    key: str
    #: the value as JSON can carry it, secrets as their reference
    value: object
    #: ``file:line`` or ``default``
    origin: str


def settings(fleet: Fleet, text: str) -> tuple[Setting, ...]:
    """Return every value of ``fleet``, which the fleet file ``text`` declares, in the order of the model.

    Keys and values, written as a fleet file, declare the same fleet.
    """
    lines = locate(text)
    makers = _makers(FleetFile.model_validate(tomllib.loads(text)))
    found = []
    for path, value in values(fleet):
        line = lines.get(path) or lines.get(makers.get(path, ()))
        origin = f"{fleet.source}:{line}" if line else "default"
        found.append(Setting(key=dotted(path), value=value, origin=origin))
    return tuple(found)


def _makers(file: FleetFile) -> Mapping[Path, Path]:
    """Return the keys that take their value from another key, where they are not written themselves."""
    made: dict[Path, Path] = {}
    parts = split(file.broker.url or "")
    if parts is not None:
        named = {"nodes": "//", "vhost": parts.path[1:], "user": parts.username, "password": parts.password}
        made |= {("broker", key): ("broker", "url") for key, value in named.items() if value}
    if file.broker.management is not None and file.broker.management.url is not None:
        made[("broker", "management", "urls")] = ("broker", "management", "url")
    if file.broker.host_password is not None:
        made |= {("hosts", name, "password"): ("broker", "host_password") for name in file.hosts}
    for name, entry in file.schedule.items():
        if entry.backup is not None:
            for key in ("task", "kwargs", "hosts"):
                made[("schedule", name, key)] = ("schedule", name, "backup")
    for task, queue in file.tasks.routes.items():
        made.setdefault(("queues", queue, "tasks"), ("tasks", "routes", task))
    return made


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
