"""Does a document have the tables, keys and kinds of value of a fleet file?

Where it has not, the faulty parts are noted and taken out, so that the rest can still be checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fleet.config.locate import Path
from fleet.config.problems import Problems, closest, did_you_mean
from fleet.config.schema import FleetFile

#: tables of entries by name: one wrong entry is taken out, the others stay
_BY_NAME = frozenset({"hosts", "queues", "workers", "backups", "urls", "schedule"})
#: what stands in for a table that a fleet file cannot do without; checks that would read it are left out
_STAND_INS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {"broker": {"url": "amqp://localhost", "password": "env:P"}, "hosts": {"localhost": {}}}
)
#: kind of pydantic's finding → what an operator reads; the braces take from the finding's context
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "string_type": "must be text in quotes",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "finite_number": "must be a finite number",
        "bool_type": "must be true or false",
        "list_type": "must be a list in brackets",
        "dict_type": "must be a table",
        "model_type": "must be a table",
        "too_short": "must not be empty",
        "greater_than_equal": "must be at least {ge}",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be {expected}",
        "enum": "must be {expected}",
    }
)
#: kinds of finding at keys that may hold a secret, or about values too long to repeat
_HIDE_VALUE = frozenset({"string_type", "list_type", "dict_type", "model_type", "too_short"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The well-formed part of a document."""

    file: FleetFile
    #: top-level tables that are not as the operator wrote them, because something was taken out
    faulty: frozenset[str]


def well_formed(document: dict[str, Any], problems: Problems) -> Shape | None:
    """Note what is not well-formed and return the rest; None where nothing is left to check."""
    faulty = _without_misspelt_tables(document, problems)
    # Without a wrong entry, its table may be wrong in turn, as an empty [hosts] is.
    for attempt in range(3):
        try:
            return Shape(file=FleetFile.model_validate(document), faulty=frozenset(faulty))
        except ValidationError as error:
            findings = error.errors(include_url=False)
        for finding in findings:
            path = finding["loc"]
            if attempt == 0 and not (len(path) == 1 and path[0] in faulty):
                _note(finding, problems)
            faulty.add(str(path[0]))
            _take_out(document, path)
    return None


def _without_misspelt_tables(document: dict[str, Any], problems: Problems) -> set[str]:
    """Take the unknown tables out, and return those that they were probably meant to be."""
    known = known_keys(())
    unknown = [key for key in document if key not in known]
    for key in unknown:
        kind = "table" if isinstance(document.pop(key), dict) else "key"
        problems.add((key,), f"unknown {kind}", hint=did_you_mean(key, known))
    return {meant for key in unknown if (meant := closest(key, known))}


def _take_out(document: dict[str, Any], path: Path) -> None:
    top, *rest = path
    assert isinstance(top, str)
    if top in _BY_NAME and rest and isinstance(document.get(top), dict):
        document[top].pop(rest[0], None)
    elif top in _STAND_INS:
        document[top] = dict(_STAND_INS[top])
    else:
        document.pop(top, None)


def _note(finding: ErrorDetails, problems: Problems) -> None:
    path = tuple(part for part in finding["loc"] if part != "[key]")
    kind = finding["type"]
    if kind == "extra_forbidden":
        problems.add(path, "unknown key", hint=did_you_mean(str(path[-1]), known_keys(path[:-1])))
    elif kind == "missing":
        problems.add(path[:-1], f"`{path[-1]}` is missing")
    elif kind == "value_error":
        problems.add(path, finding["msg"].removeprefix("Value error, "))
    else:
        problems.add(path, _words(finding))


def _words(finding: ErrorDetails) -> str:
    kind, value = finding["type"], finding["input"]
    words = _WORDS[kind].format_map(finding.get("ctx", {})) if kind in _WORDS else finding["msg"]
    if kind in _HIDE_VALUE or not isinstance(value, str | int | float):
        return words
    return f"{words}, not `{str(value).lower() if isinstance(value, bool) else value}`"


def known_keys(path: Path) -> list[str]:
    """Return the keys that the table at ``path`` may hold."""
    annotation: Any = FleetFile
    for part in path:
        table = _table(annotation)
        if table is None:
            annotation = next(iter(reversed(get_args(annotation))), None)
        else:
            field = _field(table, str(part))
            annotation = field.annotation if field else None
    table = _table(annotation)
    return [field.alias or name for name, field in table.model_fields.items()] if table else []


def _field(table: type[BaseModel], key: str) -> FieldInfo | None:
    return next((field for name, field in table.model_fields.items() if (field.alias or name) == key), None)


def _table(annotation: Any) -> type[BaseModel] | None:
    """Return the table class that ``annotation`` is or offers, as in ``TlsTable | None``."""
    if getattr(annotation, "__origin__", None) is dict:
        return None
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
