"""What does the schema say of each key? The text below a field, as a program's reader sees it.

pydantic can collect these texts, too, but does so whenever the schema is imported, by parsing its source:
each command that reads a fleet file would take longer for what only editors and pages show.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from fleet.config.schema.table import Table


def describe(schema: Mapping[str, Any], root: type[Table]) -> dict[str, Any]:
    """Return a JSON Schema of ``root`` in which every key of a table is described."""
    tables = {table.__name__: table for table in _below(Table)}
    defined = schema.get("$defs", {})
    described = {
        name: _described(entry, tables[name]) if name in tables else entry for name, entry in defined.items()
    }
    return {**_described(schema, root), "$defs": described}


def _below(table: type[Table]) -> Iterator[type[Table]]:
    for each in table.__subclasses__():
        yield each
        yield from _below(each)


def _described(entry: Mapping[str, Any], table: type[Table]) -> dict[str, Any]:
    texts = _texts(table)
    properties = {
        key: value | ({"description": texts[key]} if key in texts else {})
        for key, value in entry.get("properties", {}).items()
    }
    return {**entry, "properties": properties}


def _texts(table: type[Table]) -> dict[str, str]:
    """Return the text below each field of ``table`` and its bases, by the key in the file."""
    found: dict[str, str] = {}
    for each in reversed(table.__mro__):
        if issubclass(each, Table) and each is not Table:
            found |= dict(_written(each))
    fields = table.model_fields
    return {fields[name].alias or name: text for name, text in found.items() if name in fields}


def _written(table: type[Table]) -> Iterator[tuple[str, str]]:
    (body,) = ast.parse(inspect.getsource(table)).body
    assert isinstance(body, ast.ClassDef)
    for field, text in pairwise(body.body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                yield name, inspect.cleandoc(words)
