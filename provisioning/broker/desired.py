"""Which state does an operator's `desired.json` ask for, and what is wrong with it?

Definitions as a broker exports them, and the same written by hand: a field that is left out is left alone or
has RabbitMQ's default, a field that is not known is an error. docs/reference/desired-state.md lists them all.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

from provisioning.broker.definitions import QUEUE_TYPE, parse
from provisioning.broker.desired_fields import IGNORED, SECTIONS, Field, Section
from provisioning.broker.desired_values import faults
from provisioning.broker.parameters import OPERATOR_POLICY, VHOST_LIMITS, Json
from provisioning.broker.state import State
from provisioning.errors import MalformedDefinitions

_Entry = Mapping[str, Any]


def read(text: str, *, source: str) -> State:
    """Return the state that ``text`` asks for; ``source`` is the name of its file, for errors.

    A queue without a type has the type ``""`` until it is known what its vhost makes of it. Raises
    MalformedDefinitions with the file, the object and the field.
    """
    document = _decoded(text, source)
    _check_sections(document, source)
    try:
        state = parse(_as_exported(document), queue_type="")
    except MalformedDefinitions as error:
        raise MalformedDefinitions(f"{source}: {error.message}") from error
    for fault in faults(state):
        raise MalformedDefinitions(f"{source}: {fault}")
    _refuse_said_twice(document, source)
    return state


def _check_sections(document: _Entry, source: str) -> None:
    for name in document:
        if name not in SECTIONS and name not in IGNORED:
            raise MalformedDefinitions(f"{source}: {_unknown('section', name, SECTIONS)}")
    for name, section in SECTIONS.items():
        for label, entry in _entries(document, name, source):
            _check_fields(f"{source}: {label}", entry, section)


def _decoded(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_no_number)
        # What is no Unicode text, such as half a surrogate pair, could not be sent.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedDefinitions(f"{source} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedDefinitions(f"{source}: definitions are a JSON object, not {_kind(document)}")
    return document


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key `{repeated}` is there twice in one object")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _entries(document: _Entry, name: str, source: str) -> Iterator[tuple[str, _Entry]]:
    entries = document.get(name, [])
    if not isinstance(entries, list):
        raise MalformedDefinitions(f"{source}: `{name}` must be a list, not {_kind(entries)}")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise MalformedDefinitions(f"{source}: {name}[{position}] must be an object, not {_kind(entry)}")
        yield _label(name, position, entry), entry


def _label(section: str, position: int, entry: _Entry) -> str:
    """Return what to call an entry that may be wrong in every way."""
    told = [f"{key} `{entry[key]}`" for key in SECTIONS[section].naming if isinstance(entry.get(key), str)]
    return f"{section}[{position}]" + (f" ({', '.join(told)})" if told else "")


def _check_fields(where: str, entry: _Entry, section: Section) -> None:
    for key in entry:
        if key not in section.fields:
            raise MalformedDefinitions(f"{where}: {_unknown('field', key, section.fields)}")
    for key, field in section.fields.items():
        if key not in entry:
            if field.required:
                raise MalformedDefinitions(f"{where}: `{key}` is missing")
        elif not _is_a(entry[key], field):
            # A wrong value may be a secret, so only its kind is told.
            raise MalformedDefinitions(f"{where}: `{key}` must be {field.wanted}, not {_kind(entry[key])}")


def _is_a(value: object, field: Field) -> bool:
    if isinstance(value, bool) and bool not in field.types:
        return False
    if isinstance(value, list) and field.items is not None:
        return all(map(_is_pair if field.items is list else _is_text, value))
    return not field.types or isinstance(value, field.types)


def _is_text(item: object) -> bool:
    return isinstance(item, str)


def _is_pair(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)


def _unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"there is no {what} `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")


def _kind(value: object) -> str:
    names = {bool: "true or false", str: "a text", int: "a number", float: "a fraction", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "null")


def _as_exported(document: _Entry) -> _Entry:
    """Return the document with what may be written by hand put where a broker's export has it."""
    operator_policies = [
        {
            "component": OPERATOR_POLICY,
            "vhost": entry["vhost"],
            "name": entry["name"],
            "value": {key: value for key, value in entry.items() if key not in ("vhost", "name")},
        }
        for entry in document.get("operator_policies", [])
    ]
    return {
        **document,
        "queues": [_exported_queue(entry) for entry in document.get("queues", [])],
        "parameters": [*document.get("parameters", []), *operator_policies],
    }


def _exported_queue(entry: _Entry) -> _Entry:
    if "type" not in entry:
        return entry
    return {**entry, "arguments": {**dict(entry.get("arguments", ())), QUEUE_TYPE: entry["type"]}}


def _refuse_said_twice(document: _Entry, source: str) -> None:
    for entry in document.get("users", []):
        if entry.get("password") and entry.get("password_hash"):
            raise MalformedDefinitions(f"{source}: user {entry['name']} has `password` and `password_hash`")
    for entry in document.get("exchanges", []):
        if entry.get("internal"):
            raise MalformedDefinitions(
                f"{source}: exchange {entry['name']} is `internal`: rabbitmqctl shows none of those"
            )
    declared = {entry["name"]: entry for entry in document.get("vhosts", [])}
    for entry in document.get("parameters", []):
        if entry["component"] == VHOST_LIMITS:
            _refuse_limits_of_nobody(entry, declared, source)


def _refuse_limits_of_nobody(entry: _Entry, declared: Mapping[str, _Entry], source: str) -> None:
    vhost = entry["vhost"]
    if vhost not in declared:
        raise MalformedDefinitions(f"{source}: there are limits for vhost {vhost}, which is not in `vhosts`")
    limits = declared[vhost].get("limits")
    # An export has them in both places.
    if limits and Json(limits) != Json(entry["value"]):
        raise MalformedDefinitions(
            f"{source}: vhost {vhost} has `limits` and, in a parameter `{VHOST_LIMITS}`, other ones"
        )
