import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet.metrics.yaml import Plain, render

TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"), include_characters="\n"))
SCALARS = st.none() | st.booleans() | st.integers() | TEXT
DOCUMENTS = st.dictionaries(
    TEXT,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    min_size=1,
    max_size=3,
)


@given(DOCUMENTS)
def test_a_yaml_parser_reads_back_what_was_written(document: dict[str, Plain]) -> None:
    assert yaml.safe_load(render(document)) == document


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "null", "true", "1e3", "0x10", "~", "", " a", "a: b", "# x"]
)
def test_a_string_that_yaml_would_take_for_something_else_stays_a_string(word: str) -> None:
    assert yaml.safe_load(render({"key": word})) == {"key": word}


def test_an_expression_of_several_lines_is_written_as_people_would() -> None:
    assert render({"rules": [{"alert": "A", "expr": "up\n  == 0"}]}) == (
        "rules:\n  - alert: A\n    expr: |-\n      up\n        == 0\n"
    )
