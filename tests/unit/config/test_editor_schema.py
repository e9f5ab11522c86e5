import tomllib

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given

from fleet.config.editor_schema import json_schema
from fleet.config.starter import STARTER
from tests.bad_input import cases
from tests.unit.config.documents import Document, documents

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@given(documents())
def test_an_editor_accepts_what_the_parser_accepts(document: Document) -> None:
    VALIDATOR.validate(document)


def test_an_editor_accepts_the_starter() -> None:
    VALIDATOR.validate(tomllib.loads(STARTER))


@pytest.mark.parametrize("name", ["unknown-key", "unknown-table", "wrong-values", "names"])
def test_an_editor_marks_what_is_not_well_formed(name: str) -> None:
    (case,) = (case for case in cases() if case.name == name)
    assert case.fleet_file is not None
    assert not VALIDATOR.is_valid(tomllib.loads(case.fleet_file))


def test_every_key_and_table_is_described() -> None:
    schema = json_schema()
    tables = {"fleet file": schema} | schema["$defs"]
    silent = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, field in table.get("properties", {}).items()
        if "description" not in field and "$ref" not in str(field)
    ]
    assert not silent


def test_an_editor_marks_a_name_that_is_none() -> None:
    assert not VALIDATOR.is_valid({"broker": {}, "hosts": {"a_b": {}}})
    assert VALIDATOR.is_valid({"broker": {}, "hosts": {"a-b": {}}})
