import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet.config.locate import Path, locate

# What could mislead a scanner: quotes, brackets, signs, blanks, escapes, and letters of several bytes.
names = st.text("ab\"'[]{}=#.,\\ \tß€", min_size=1, max_size=6)
scalars = st.one_of(st.integers(), st.booleans(), names)
values = st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(names, scalars, max_size=3))
documents = st.dictionaries(names, st.dictionaries(names, values, max_size=4), max_size=4)


NESTED = """\
a.b = 1
c = {d = 2, e = [
1,
'''
]x''']}
[[t.u]]
k = 1
[[t.u]]
k = 2
[t.u.v]
w = '''
'''
z = 1
"""


def quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {toml_value(item)}, # ] a comment\n" for item in value) + "]"
    return quoted(value)


def render(document: dict[str, dict[str, Any]]) -> tuple[str, dict[Path, int]]:
    text, lines = "", dict[Path, int]()
    for table, pairs in document.items():
        lines[(table,)] = text.count("\n") + 1
        text += f"[{quoted(table)}]  # a comment with [brackets] and = signs\n"
        for key, value in pairs.items():
            lines[(table, key)] = text.count("\n") + 1
            text += f"{quoted(key)} = {toml_value(value)}\n"
    return text, lines


@given(documents)
def test_every_table_and_key_is_found_on_its_line(document: dict[str, dict[str, Any]]) -> None:
    text, lines = render(document)
    tomllib.loads(text)
    found = locate(text)
    assert {path: found.get(path) for path in lines} == lines


def test_dotted_keys_inline_tables_and_arrays_of_tables_are_found() -> None:
    tomllib.loads(NESTED)
    found = locate(NESTED)
    assert found[("a", "b")] == 1
    assert found[("c", "e", 1)] == 4
    assert found[("t", "u", 1, "k")] == 9
    assert found[("t", "u", 1, "v", "z")] == 13
