"""One mail, one recipient: was it accepted, and by whom?"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from fleet.errors import SecretMissing, UsageError
from fleet.mail import smtp
from fleet.mail.address import Unmailable, parse_address
from fleet.mail.files import open_templates
from fleet.mail.message import OutgoingMail, compose, message_id
from fleet.mail.policy import Kind, MailFailure, Verdict, mail_failure
from fleet.mail.templates import render
from fleet.model import Mail, SecretRef
from fleet.secrets import Secret, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A mail that was accepted for delivery; what becomes of it then is the receiving server's business."""

    #: the same at every attempt of this mail
    message_id: str
    #: ``smtp`` or ``sendgrid``
    via: str
    #: the server's own words (SMTP) or id for the mail (SendGrid), without addresses
    answer: str


def deliver(
    mail: Mail,
    *,
    to: str,
    template: str,
    context: Mapping[str, object],
    key: str,
    environ: Mapping[str, str],
    now: datetime,
) -> Delivery:
    """Render and send one mail to one recipient; ``key`` is its idempotency key.

    Raises MailFailure and nothing else that a mail, a server or the fleet file can cause.
    """
    try:
        outgoing = prepare(mail, to=to, template=template, context=context, key=key, now=now)
        with _traceable(outgoing):
            return _send(mail, outgoing, environ, now)
    except Unmailable as error:
        raise mail_failure(
            Verdict(kind=Kind.PERMANENT, reason=error.reason, hint=error.hint)
        ) from None  # the error's own text shows the address
    except SecretMissing as error:
        raise mail_failure(Verdict(kind=Kind.CONFIGURATION, reason=error.message, hint=error.hint)) from error
    except UsageError as error:
        raise mail_failure(Verdict(kind=Kind.PERMANENT, reason=error.message, hint=error.hint)) from error


def prepare(
    mail: Mail, *, to: str, template: str, context: Mapping[str, object], key: str, now: datetime
) -> OutgoingMail:
    """Return the mail as it would go out now.

    Raises Unmailable, BadTemplate or UsageError.
    """
    sender, recipient = parse_address(mail.sender, role="sender"), parse_address(to)
    return OutgoingMail(
        sender=sender,
        to=recipient,
        content=render(open_templates(mail.templates), template, context),
        message_id=message_id(sender, to=recipient, template=template, key=key),
        date=now,
    )


@contextmanager
def _traceable(outgoing: OutgoingMail) -> Iterator[None]:
    """Name the Message-ID where somebody has to look whether the mail arrived."""
    try:
        yield
    except MailFailure as failure:
        if failure.kind is not Kind.UNKNOWN:
            raise
        reason = f"{failure.verdict.reason}; Message-ID {outgoing.message_id}"
        raise mail_failure(replace(failure.verdict, reason=reason)) from failure.__cause__


def _send(mail: Mail, outgoing: OutgoingMail, environ: Mapping[str, str], now: datetime) -> Delivery:
    if mail.sendgrid is not None:
        # Only here: without it, a worker that mails by SMTP is ready a tenth of a second earlier.
        from fleet.mail import esp

        api_key = resolve(mail.sendgrid.api_key, environ=environ)
        answer = esp.submit(mail.sendgrid, outgoing, api_key=api_key, now=now)
        return Delivery(message_id=outgoing.message_id, via="sendgrid", answer=answer)
    if mail.smtp is not None:
        envelope = smtp.Envelope(sender=outgoing.sender, to=outgoing.to, content=compose(outgoing))
        answer = smtp.submit(mail.smtp, envelope, password=_password(mail.smtp.password, environ))
        return Delivery(message_id=outgoing.message_id, via="smtp", answer=answer)
    raise UsageError(
        "[mail] names no way to send", hint="add [mail.smtp] or [mail.sendgrid] to the fleet file"
    )


def _password(reference: SecretRef | None, environ: Mapping[str, str]) -> Secret | None:
    return resolve(reference, environ=environ) if reference else None
