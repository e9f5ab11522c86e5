"""docs/reference/fleet-toml.md, from the schema that the parser uses."""

from collections.abc import Iterator
from typing import Any

from fleet.config.editor_schema import json_schema

HEAD = """\
# The fleet file

Generated from the parser's own schema by `make docs`. `fleet init` writes a commented example,
`fleet config check` names every problem with its line, `fleet config show` tells where each value comes from,
and `fleet config schema` prints the JSON Schema for editors.

Unknown keys are errors. Durations are seconds or texts such as `30s`, `5m`, `26h`, `7d`; sizes are bytes or
texts such as `512K`, `10M`. Hosts are named by name, glob (`web-*`) or label (`@db`). Secrets are references:
`env:NAME`, `file:/absolute/path` or `credential:NAME`.
"""


def fleet_toml_page() -> str:
    schema = json_schema()
    parts = [HEAD]
    for title, table in _tables(schema):
        parts.append(
            f"## `{title}`\n\n{table['description']}\n\n"
            "| key | value | default | meaning |\n|---|---|---|---|\n"
        )
        parts.append(
            "".join(
                _row(key, field, table) for key, field in table["properties"].items() if not _nested(field)
            )
        )
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def _tables(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    definitions = schema["$defs"]

    def walk(table: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, field in table["properties"].items():
            name, many = _reference(field)
            if name is None or "properties" not in definitions[name]:
                continue
            title = f"{path}{key}.NAME" if many else f"{path}{key}"
            yield f"[{title}]", definitions[name]
            yield from walk(definitions[name], f"{title}.")

    yield from walk(schema, "")


def _reference(field: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the definition that a field points to, and whether it holds many of them by name."""
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option:
            return option["$ref"].rsplit("/", 1)[1], False
        values = option.get("additionalProperties") or next(
            iter(option.get("patternProperties", {}).values()), None
        )
        if isinstance(values, dict) and "$ref" in values:
            return values["$ref"].rsplit("/", 1)[1], True
    return None, False


def _nested(field: dict[str, Any]) -> bool:
    name, _ = _reference(field)
    return name is not None and name.endswith("Table")


def _row(key: str, field: dict[str, Any], table: dict[str, Any]) -> str:
    default = "required" if key in table.get("required", ()) else _default(field)
    meaning = field.get("description", "").replace("|", "\\|")
    return f"| `{key}` | {_kind(field)} | {default} | {meaning} |\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, [], {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _kind(field: dict[str, Any]) -> str:
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    if any("smhd" in option.get("pattern", "") for option in options):
        return "duration"
    if any("KMG" in option.get("pattern", "") for option in options):
        return "size"
    option = options[0]
    if "enum" in option:
        return " or ".join(f"`{value}`" for value in option["enum"])
    if "$ref" in option:
        return "text"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    if option.get("type") == "array":
        return "list of texts"
    return names.get(option.get("type", ""), "table")
