import json

import pytest

from fleet.mail.sendgrid import may_send, payload, words
from tests.unit.mail.mails import outgoing


def test_the_payload_names_one_recipient_and_puts_text_before_html() -> None:
    record = json.loads(payload(outgoing(to="Ann <ann@example.org>", html="<p>Hi</p>")))
    assert record["personalizations"] == [{"to": [{"email": "ann@example.org", "name": "Ann"}]}]
    assert record["from"] == {"email": "fleet@example.com", "name": "Fleet"}
    assert [part["type"] for part in record["content"]] == ["text/plain", "text/html"]


def test_the_payload_carries_the_message_id_where_events_repeat_it() -> None:
    mail = outgoing()
    record = json.loads(payload(mail))
    assert record["custom_args"] == {"fleet_message_id": mail.message_id}
    assert record["headers"] == {"Message-ID": mail.message_id, "Auto-Submitted": "auto-generated"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors": [{"message": "bad"}, {"message": "for ann@example.org"}]}', "bad; for <address>"),
        (b'{"errors": "x"}', ""),
        (b"<html>", ""),
        (b"\xff", ""),
        (b"[]", ""),
        (b"", ""),
    ],
)
def test_the_words_of_an_answer_are_shown_without_addresses(body: bytes, expected: str) -> None:
    assert words(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"scopes": ["mail.send", "alerts.read"]}', True),
        (b'{"scopes": []}', False),
        (b"[]", False),
        (b"x", False),
    ],
)
def test_a_key_may_send_only_with_that_scope(body: bytes, *, expected: bool) -> None:
    assert may_send(body) is expected
