"""Small mails for tests of the mail room."""

from collections.abc import Mapping
from datetime import UTC, datetime

from fleet.mail.address import parse_address
from fleet.mail.message import Content, OutgoingMail, message_id
from fleet.mail.templates import Templates
from fleet.model import Mail

NOW = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)


def outgoing(
    *,
    to: str = "ann@example.org",
    subject: str = "Hello",
    text: str = "Hello Ann\n",
    html: str | None = None,
    unsubscribe: str | None = None,
    key: str = "k1",
) -> OutgoingMail:
    sender, recipient = parse_address("Fleet <fleet@example.com>"), parse_address(to)
    return OutgoingMail(
        sender=sender,
        to=recipient,
        content=Content(subject=subject, text=text, html=html, unsubscribe=unsubscribe),
        message_id=message_id(sender, to=recipient, template="welcome", key=key),
        date=NOW,
    )


def templates(files: Mapping[str, str]) -> Templates:
    return Templates(directory="/mail", read=files.get)


def settings(*, on_unknown: str = "hold") -> Mail:
    return Mail(
        sender="fleet@example.com",
        templates="/mail",
        retry_base_seconds=30.0,
        retry_max_seconds=14_400.0,
        on_unknown=on_unknown,
    )
