import json
from typing import Any

import pytest
from amqp.basic_message import Message as RawMessage
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.transport import pyamqp

from fleet.worker.plain import PlainMessage

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def message(kind: type[Any], body: bytes, *, content_type: str = "application/json") -> Any:
    raw = RawMessage(body, content_type=content_type, content_encoding="utf-8")
    raw.delivery_info = {"delivery_tag": 1}
    made = kind(raw, channel=None)
    made.accept = {"application/json"}
    return made


def outcome(kind: type[Any], body: bytes, *, content_type: str = "application/json") -> object:
    """Return what a message of ``body`` is decoded to, or how that fails."""
    made = message(kind, body, content_type=content_type)
    try:
        return made.decode()
    except Exception as error:  # noqa: BLE001 - whatever kombu raises is to be raised here
        return type(error)


@given(value=values, ensure_ascii=st.booleans())
def test_json_is_read_as_kombu_reads_it(*, value: object, ensure_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert outcome(PlainMessage, body) == outcome(pyamqp.Message, body) == value


@given(body=st.binary() | st.text().map(str.encode))
def test_what_is_no_json_fails_as_with_kombu(body: bytes) -> None:
    assert repr(outcome(PlainMessage, body)) == repr(outcome(pyamqp.Message, body))


@pytest.mark.parametrize(
    "body",
    [
        b'[{"__type__": "uuid", "__value__": "6f1c0d2e-8f0b-4c1a-9d53-0f2f8a1c7e11"}]',
        rb'[{"\u005f_type__": "bytes", "__value__": "x"}]',
        b'[{"__type__": "nobody\'s", "__value__": 1}]',
        '["x"]'.encode("utf-16"),
        b"[" * 100_000,
        b"",
    ],
)
def test_what_means_more_to_kombu_than_json_is_left_to_kombu(body: bytes) -> None:
    assert outcome(PlainMessage, body) == outcome(pyamqp.Message, body)


def test_what_may_not_be_read_is_not_read() -> None:
    body = b'{"a": 1}'
    assert outcome(PlainMessage, body, content_type="application/x-yaml") is ContentDisallowed
    with pytest.raises(DecodeError):
        message(PlainMessage, b"{").decode()


def test_json_is_not_read_where_only_other_content_may_be() -> None:
    made = message(PlainMessage, b"{}")
    made.accept = {"application/x-yaml"}
    with pytest.raises(ContentDisallowed):
        made.decode()
