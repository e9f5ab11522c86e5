"""What holds for every fleet file, right or wrong."""

import tomllib
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet.config.parse import parse
from fleet.config.show import settings
from fleet.config.starter import STARTER
from fleet.errors import ConfigError
from fleet.model import Fleet
from tests.unit.config.documents import Document, documents, to_toml

SECRET = "hunter2"
IN_THE_CLEAR = f"""
[broker]
url = "amqp://celery:{SECRET}@mq1"
password = "{SECRET}"
result_backend = "redis://:{SECRET}@r1/1"
[broker.management]
url = "http://admin:{SECRET}@mq1"
user = "admin"
password = "{SECRET}"
[broker.users]
shop = {{role = "observer", password = "{SECRET}"}}
lost = "{SECRET}"
[hosts.alpha]
[mail]
from = "a@example.org"
templates = "mail"
[mail.smtp]
host = "mx"
user = "a"
password = "{SECRET}"
[mail.sendgrid]
api_key = ["{SECRET}"]
url = "ftp://{SECRET}@x"
[urls.shop]
url = "ssh://a:{SECRET}@x"
"""
STRANGE = st.sampled_from(["", 0, -1, 3.5, True, [], {}, "x", ["*"], [1], {"x": 1}, "@", "1h", "/", "env:"])


def outcome(text: str) -> Fleet | ConfigError:
    try:
        return parse(text, source="fleet.toml")
    except ConfigError as error:
        return error


def is_fleet_or_problems(text: str) -> bool:
    found = outcome(text)
    return isinstance(found, Fleet) or bool(found.problems)


def leaves(table: Document, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}" if key.replace("-", "").replace("_", "").isalnum() else f'{prefix}"{key}"'
        found |= leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def paths(table: Document, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in table.items():
        found.append((*prefix, key))
        found += paths(value, (*prefix, key)) if isinstance(value, dict) else []
    return found


def table_of(document: Document, path: tuple[str, ...]) -> Document:
    for part in path[:-1]:
        document = document[part]
    return document


@given(documents())
def test_what_show_says_is_a_fleet_file_of_the_same_fleet(document: Document) -> None:
    text = to_toml(document)
    fleet = parse(text, source="fleet.toml")
    shown = settings(fleet, text)
    again = "".join(f"{item.key} = {to_toml({'': item.value})[5:]}" for item in shown)
    assert replace(parse(again, source="fleet.toml"), source=fleet.source) == fleet


@given(documents())
def test_every_key_that_is_written_is_shown_with_its_line(document: Document) -> None:
    text = to_toml(document)
    shown = {item.key: item.origin for item in settings(parse(text, source="f"), text)}
    made = ("broker.url", "broker.management.url", ".backup")
    missing = [key for key in leaves(document) if not key.endswith(made) and shown[key] == "default"]
    assert not missing


@given(documents(), st.data())
def test_without_any_one_key_a_file_declares_a_fleet_or_problems(
    document: Document, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(paths(document)))
    del table_of(document, path)[path[-1]]
    assert is_fleet_or_problems(to_toml(document))


@given(documents(), st.data())
def test_with_any_one_wrong_value_a_file_declares_a_fleet_or_problems(
    document: Document, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(paths(document)))
    table_of(document, path)[path[-1]] = data.draw(STRANGE)
    assert is_fleet_or_problems(to_toml(document))


@given(
    st.integers(0, len(STARTER)),
    st.integers(0, 3),
    st.sampled_from(["", '"', "[", "]]", "=", "\n", "{", "'''", "\\"]),
)
def test_with_any_one_slip_of_the_pen_a_text_declares_a_fleet_or_problems(
    at: int, cut: int, put: str
) -> None:
    assert is_fleet_or_problems(STARTER[:at] + put + STARTER[at + cut :])


@given(st.sampled_from(paths(tomllib.loads(IN_THE_CLEAR))), STRANGE)
def test_a_secret_in_the_clear_is_never_repeated(path: tuple[str, ...], value: object) -> None:
    document = tomllib.loads(IN_THE_CLEAR)
    table_of(document, path)[path[-1]] = value
    found = outcome(to_toml(document))
    assert isinstance(found, ConfigError)
    assert SECRET not in f"{found} {found.problems!r}"
