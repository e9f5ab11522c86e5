"""Which value does every key have, and where does it come from?"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

from fleet.config.locate import Path, locate
from fleet.config.problems import dotted
from fleet.model import Fleet, SecretRef

#: model field → key of the fleet file, where they differ
_KEYS: Mapping[str, str] = {
    "sender": "from",
    "visibility_timeout_seconds": "visibility_timeout",
    "max_runtime_seconds": "max_runtime",
    "max_wait_seconds": "max_wait",
    "max_age_seconds": "max_age",
    "bandwidth_limit_bytes_per_second": "bandwidth_limit",
    "timeout_seconds": "timeout",
    "retry_base_seconds": "retry_base",
    "retry_max_seconds": "retry_max",
    "every_seconds": "every",
    "jitter_seconds": "jitter",
    "grace_seconds": "grace",
    "url_checks": "urls",
    "user_tasks": "tasks",
}
_TOP = ("name", "timezone", "state_dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of the fleet and its origin."""

    #: dotted key path
    key: str
    #: the value, secrets as their reference
    value: object
    #: ``file:line`` or ``default``
    origin: str


def settings(fleet: Fleet, text: str) -> tuple[Setting, ...]:
    """Return every value of ``fleet``, which the fleet file ``text`` declares, in the order of the model."""
    lines = locate(text)
    written = _leaves(tomllib.loads(text), ())
    return tuple(
        Setting(key=dotted(path), value=value, origin=_origin(path, lines, fleet.source, written))
        for path, value in _settings(fleet)
    )


def _origin(path: Path, lines: Mapping[Path, int], source: str, written: frozenset[Path]) -> str:
    # The address list may have been written as one `url`; a schedule's task as its `backup`.
    for candidate in (path, _twin(path)):
        if candidate in written:
            return f"{source}:{lines[candidate]}"
    return "default"


def _twin(path: Path) -> Path:
    twins = {("broker", "nodes"): ("broker", "url"), ("broker", "kind"): ("broker", "url")}
    if path in twins:
        return twins[path]
    if path[0] == "schedule" and path[-1] in ("task", "kwargs", "hosts"):
        return (*path[:-1], "backup")
    return path


def _leaves(value: object, path: Path) -> frozenset[Path]:
    if isinstance(value, dict):
        inner = frozenset[Path]().union(*(_leaves(item, (*path, key)) for key, item in value.items()))
        return inner | {path}
    return frozenset({path})


def _settings(fleet: Fleet) -> Iterator[tuple[Path, object]]:
    for name in _TOP:
        yield ("fleet", name), getattr(fleet, name)
    for field in fields(fleet):
        if field.name not in (*_TOP, "source"):
            key = _KEYS.get(field.name, field.name)
            yield from _walk(getattr(fleet, field.name), (key,))


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, SecretRef):
        yield path, str(value)
    elif path == ("broker", "nodes"):
        yield path, plain(value)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name != "name":
                yield from _walk(getattr(value, field.name), (*path, _KEYS.get(field.name, field.name)))
    elif isinstance(value, tuple) and value and all(is_dataclass(item) for item in value):
        for item in value:
            yield from _walk(item, (*path, str(getattr(item, "name", ""))))
    elif value is not None and value != ():
        yield path, plain(value)


def plain(value: object) -> object:
    """Return ``value`` as JSON can carry it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
