from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.mail.address import InvalidAddress, Unmailable
from fleet.mail.message import compose
from tests.unit.mail.mails import outgoing

HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
HEADERS |= {"Content-Transfer-Encoding"}


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=default)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_mail_has_one_recipient_and_says_that_a_program_wrote_it() -> None:
    message = parsed(compose(outgoing(to="Ann <ann@example.org>")))
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.org"]
    assert message["From"] == "Fleet <fleet@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Sat, 21 Nov 2026 07:30:00 +0000"


def test_text_and_html_are_alternatives_with_the_text_first() -> None:
    message = parsed(compose(outgoing(text="Grüße\n", html="<p>Grüße</p>\n")))
    assert message.get_content_type() == "multipart/alternative"
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "text/html"]
    assert body(message, "plain") == "Grüße\n"
    assert body(message, "html") == "<p>Grüße</p>\n"


def test_one_key_has_one_message_id_and_another_key_another() -> None:
    assert outgoing(key="a").message_id == outgoing(key="a").message_id
    different = {outgoing(key="a"), outgoing(key="b"), outgoing(key="a", to="bob@example.org")}
    assert len({mail.message_id for mail in different}) == 3
    assert outgoing().message_id.endswith("@example.com>")


@pytest.mark.parametrize(
    "subject", ["Hi\nBcc: bob@example.org", "Hi\r\n\r\nbody", "Hi\x00", "a\u2028b", "\ud800", "", "x" * 501]
)
def test_a_subject_that_is_not_one_line_is_refused(subject: str) -> None:
    with pytest.raises(Unmailable, match="the subject"):
        compose(outgoing(subject=subject))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/u",
        "https://example.org/u\r\nBcc: b@example.org",
        "https://example.org/a b",
        "https://example.org/ü",
        "javascript:alert(1)",
        "https://example.org/>,<mailto:x@example.org",
        "https://example.org/" + "u" * 900,
        "",
    ],
)
def test_a_url_for_unsubscribing_that_is_not_plain_is_refused(url: str) -> None:
    with pytest.raises(Unmailable, match="URL for unsubscribing"):
        compose(outgoing(unsubscribe=url))


def test_a_long_url_for_unsubscribing_stays_in_one_piece_and_offers_one_click() -> None:
    url = "https://example.org/unsubscribe?token=" + "t" * 200
    content = compose(outgoing(unsubscribe=url))
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in content
    assert parsed(content)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_a_mailto_url_offers_no_one_click() -> None:
    message = parsed(compose(outgoing(unsubscribe="mailto:leave@example.org")))
    assert message["List-Unsubscribe"] == "<mailto:leave@example.org>"
    assert message["List-Unsubscribe-Post"] is None


def test_only_a_recipient_that_is_not_ascii_makes_eight_bit_headers() -> None:
    assert compose(outgoing(to="ann@example.org", subject="Grüße", text="ü" * 2000)).isascii()
    assert "To: jörg@example.org\r\n".encode() in compose(outgoing(to="jörg@example.org"))


def test_half_a_surrogate_pair_in_the_text_becomes_a_question_mark() -> None:
    assert body(parsed(compose(outgoing(text="a\ud800b\n"))), "plain") == "a?b\n"


@given(
    st.text(max_size=60),
    st.sampled_from(["", "\r\nBcc: evil@example.org", "\nX-Evil: 1", "\r\rX-Evil: 1", "\x0bX-Evil: 1"]),
    st.text(max_size=20),
)
def test_no_input_adds_a_header_or_a_recipient(start: str, injected: str, end: str) -> None:
    hostile = start + injected + end
    try:
        content = compose(outgoing(to=f"{hostile} <ann@example.org>", subject=f"s{hostile}", text=hostile))
    except (InvalidAddress, Unmailable):
        return
    message = parsed(content)
    assert set(message.keys()) <= HEADERS
    assert len(message.keys()) == len(set(message.keys()))
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.org"]
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=200))
def test_a_subject_arrives_as_it_was_written(subject: str) -> None:
    message = parsed(compose(outgoing(subject=subject)))
    assert str(message["Subject"]).split() == subject.split()
