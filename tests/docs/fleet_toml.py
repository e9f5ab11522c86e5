"""docs/reference/fleet-toml.md, from the schema and the checks that the parser uses."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from fleet.config.checks import CHECKS
from fleet.config.editor_schema import json_schema
from fleet.config.starter import STARTER

HEAD = """\
# The fleet file

Generated from the parser's own schema by `make docs`. `fleet init` writes the [example](#an-example) below,
`fleet config check` names every problem with its line, `fleet config show` tells where each value comes from,
and `fleet config schema > fleet.schema.json` writes a JSON Schema, with which an editor completes and checks
the file; many look for it in the first line: `#:schema ./fleet.schema.json`.

Unknown keys are errors. What kind of value a key takes:

- **duration**: seconds, or a text such as `"30s"`, `"5m"`, `"26h"`, `"7d"`
- **size**: bytes, or a text such as `"512K"`, `"10M"`, `"1G"` (of 1024)
- **name**: a lower-case letter, then up to 62 lower-case letters, digits, `-`, `_`
- **host pattern**: a host's name, a glob (`"web-*"`) or a label (`"@db"`)
- **secret reference**: `"env:NAME"` (environment variable), `"file:/absolute/path"` (what it holds, less
  a newline at the end) or `"credential:NAME"` (systemd's `LoadCredential=`). A secret itself is refused, also
  inside a URL, unless you insist with `--insecure-plaintext-secrets`.

"""
RULES = """\
## What is checked besides

That every name leads somewhere, and that everything fits together:

"""
EXAMPLE = """\

## An example

```toml
"""


def fleet_toml_page() -> str:
    schema = json_schema()
    tables = "".join(
        _section(title, table) for title, table in _tables(schema["properties"], schema["$defs"], "")
    )
    return f"{HEAD}{tables}{RULES}{''.join(_rules())}{EXAMPLE}{STARTER}```\n"


def _tables(
    fields: dict[str, Any], definitions: dict[str, Any], path: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every table with its title, such as ``[broker.users.NAME]``."""
    for key, field in fields.items():
        by_name: dict[str, Any] = next(iter(field.get("patternProperties", {}).values()), {})
        table: dict[str, Any] = definitions.get((by_name or field).get("$ref", "").rpartition("/")[2], {})
        if "properties" in table:
            title = f"{path}{key}.NAME" if by_name else f"{path}{key}"
            yield f"[{title}]", table
            yield from _tables(table["properties"], definitions, f"{title}.")


def _section(title: str, table: dict[str, Any]) -> str:
    rows = [
        _row(key, field, is_required=key in table.get("required", ()))
        for key, field in table["properties"].items()
        if "description" in field
    ]
    head = "| key | value | default | meaning |\n|---|---|---|---|\n"
    return f"## `{title}`\n\n{table['description']}\n\n{head}{''.join(rows)}\n"


def _row(key: str, field: dict[str, Any], *, is_required: bool) -> str:
    default = "required" if is_required else _default(field)
    meaning = field["description"].replace("|", "\\|")
    return f"| `{key}` | {_kind(field)} | {default} | {meaning} |\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value in (None, [], {}):
        return ""
    if _kind(field) == "duration":
        return f"`{_duration(value)}`"
    return f"`{json.dumps(value)}`"


def _duration(seconds: float) -> str:
    units = {"h": 3600, "m": 60, "s": 1}
    unit = next((unit for unit, size in units.items() if seconds and seconds % size == 0), "s")
    return f'"{seconds / units[unit]:g}{unit}"'


def _kind(field: dict[str, Any]) -> str:
    if "x-kind" in field:
        return str(field["x-kind"])
    if field.get("type") == "array":
        kind = _kind(field["items"])
        return f"list of {kind}s" if kind != "DNS name or IP address" else f"list of {kind}"
    if "$ref" in field:
        field = json_schema()["$defs"][field["$ref"].rpartition("/")[2]]
    if "enum" in field:
        return " or ".join(f'`"{value}"`' for value in field["enum"])
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return names.get(field["type"], "table")


def _rules() -> Iterator[str]:
    """Yield what the checks are for, by the part of the file that they look at."""
    for module, checks in groupby(CHECKS, lambda check: check.note.__module__):
        rules = " ".join(str(check.note.__doc__).partition("\n")[0] for check in checks)
        yield f"- **{module.rpartition('.')[2]}**: {rules.replace('``', '`')}\n"
