"""A mail to hand over, and the settings to hand it over with."""

from fleet.mail.message import compose
from fleet.mail.policy import MailFailure, Verdict
from fleet.mail.smtp import Envelope, submit
from fleet.model import Smtp
from fleet.secrets import Secret
from tests.unit.mail.mails import outgoing

PASSWORD = "pässwörd-s3cret"


def envelope(*, to: str = "ann@example.org", text: str = "Hello\n.\n..dots\n") -> Envelope:
    mail = outgoing(to=to, text=text)
    return Envelope(sender=mail.sender, to=mail.to, content=compose(mail))


def plain(port: int, *, user: str | None = None, timeout_seconds: float = 10.0) -> Smtp:
    return Smtp(host="127.0.0.1", port=port, security="none", user=user, timeout_seconds=timeout_seconds)


def verdict_of(smtp: Smtp, mail: Envelope | None = None, *, password: str | None = None) -> Verdict:
    """Hand the mail over, which must fail, and return why."""
    try:
        submit(smtp, mail or envelope(), password=Secret(password) if password else None)
    except MailFailure as failure:
        return failure.verdict
    raise AssertionError("the mail was accepted")
