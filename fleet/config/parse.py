"""Which fleet does this text declare, or what is wrong with it, all at once?"""

import re
import tomllib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fleet.config.checks import check
from fleet.config.convert import convert
from fleet.config.locate import Path, locate
from fleet.config.problems import Problems, did_you_mean
from fleet.config.schema import FleetFile
from fleet.config.secret import Secrets
from fleet.errors import ConfigError, Problem
from fleet.model import Fleet

#: a value of these keys is never repeated in a message
_SECRET_KEYS = frozenset({"password", "api_key", "result_password"})
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def parse(text: str, *, source: str, plaintext_secrets: bool = False) -> Fleet:
    """Return the fleet that the fleet file ``text`` declares; ``source`` is its path, for messages.

    Raises ConfigError with every problem that can be seen at once.
    """
    document = _toml(text, source)
    problems = Problems(source=source, lines=locate(text))
    file = _well_formed(document, problems)
    fleet = None
    if file is not None:
        secrets = Secrets(accept_plaintext=plaintext_secrets, problems=problems)
        fleet = convert(file, source=source, secrets=secrets, problems=problems)
        check(fleet, file, problems)
    if fleet is None or problems.in_order():
        raise ConfigError(problems.in_order(), hint=_hint(source))
    return fleet


def _well_formed(document: dict[str, Any], problems: Problems) -> FleetFile | None:
    """Return the file without its unknown keys, so that names are checked too; None where that fails."""
    for _ in range(2):
        try:
            return FleetFile.model_validate(document)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            _add(detail, problems)
        if any(detail["type"] != "extra_forbidden" for detail in details):
            return None
        for detail in details:
            _drop(document, detail["loc"])
    return None


def _drop(document: Any, path: Path) -> None:
    for part in path[:-1]:
        document = document[part]
    del document[path[-1]]


def _hint(source: str) -> str:
    return f"correct {source} and run `fleet config check` again"


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        problem = Problem(
            file=source,
            key="",
            message=f"not valid TOML: {_AT_LINE.sub('', message)}",
            line=int(at[1]) if at else text.count("\n") + 1,
        )
        raise ConfigError([problem], hint=_hint(source)) from None


def _add(detail: ErrorDetails, problems: Problems) -> None:
    """Note one finding of pydantic in the words of an operator."""
    path = tuple(part for part in detail["loc"] if part != "[key]")
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _keys(path[:-1])
        problems.add(path, "unknown key", hint=did_you_mean(str(path[-1]), known))
    elif kind == "missing":
        problems.add(path[:-1], f"`{path[-1]}` is missing")
    elif kind == "string_pattern_mismatch":
        rule = detail.get("ctx", {}).get("pattern")
        problems.add(path, f"`{detail['input']}` does not match {rule}")
    elif kind == "value_error":
        problems.add(path, detail["msg"].removeprefix("Value error, "))
    else:
        problems.add(path, _wrong_type(detail, path))


def _wrong_type(detail: ErrorDetails, path: Path) -> str:
    wanted = detail["msg"].replace("Input should be", "must be")
    value = detail["input"]
    if path[-1] in _SECRET_KEYS or not isinstance(value, str | int | float):
        return wanted
    return f"{wanted}, not `{value}`"


def _keys(path: Path) -> list[str]:
    """Return the keys that the table at ``path`` may hold."""
    annotation: Any = FleetFile
    for part in path:
        model = _model(annotation)
        if model is not None:
            field = _field(model, str(part))
            annotation = field.annotation if field else None
        else:
            annotation = next((arg for arg in reversed(get_args(annotation))), None)
    model = _model(annotation)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((field for name, field in model.model_fields.items() if (field.alias or name) == key), None)


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the table class in ``annotation`` (itself, or the one in ``Table | None``)."""
    candidates = (annotation, *get_args(annotation)) if not _is_mapping(annotation) else ()
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict
