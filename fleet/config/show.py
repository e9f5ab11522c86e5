"""Where does the value of every key come from?"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.config.address import split
from fleet.config.locate import Path, locate
from fleet.config.problems import dotted
from fleet.config.schema import FleetFile
from fleet.config.written import values
from fleet.model import Fleet


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
