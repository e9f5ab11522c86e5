"""What does the mail look like on the wire? One recipient, safe headers, text and HTML alternatives.

Pure: the same input gives the same headers. The Message-ID follows from the idempotency key, so that a mail
which is sent again can be recognised as the same one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime

from fleet.mail.address import Address, Unmailable, has_forbidden_characters

MAX_SUBJECT_LENGTH = 500
MAX_URL_LENGTH = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a mail says, ready for any recipient."""

    subject: str
    text: str
    #: None sends text only
    html: str | None = None
    #: ``https:`` or ``mailto:`` URL for List-Unsubscribe; ``https:`` offers one click (RFC 8058)
    unsubscribe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMail:
    """One mail to one recipient."""

    sender: Address
    to: Address
    content: Content
    #: with its angle brackets
    message_id: str
    date: datetime


class _WirePolicy(EmailPolicy):
    """SMTP line ends, seven bits, and URLs that stay in one piece.

    Python folds a long header without spaces by encoding it as text, which no mail program takes for a URL
    (https://github.com/python/cpython/issues/87659).
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the header's lines."""
        if name == "List-Unsubscribe":
            return f"{name}: {value}\r\n".encode("ascii")
        return super().fold_binary(name, value)


def message_id(sender: Address, *, to: Address, template: str, key: str) -> str:
    """Return the Message-ID of the mail with idempotency key ``key``: the same one at every attempt."""
    identity = "\0".join((sender.addr_spec, to.addr_spec, template, key))
    return f"<{hashlib.sha256(identity.encode()).hexdigest()[:40]}@{sender.domain}>"


def headers(mail: OutgoingMail) -> Mapping[str, str]:
    """Return the headers beyond From, To, Subject and Date.

    Raises Unmailable when the URL for unsubscribing cannot stand in a header.
    """
    found = {"Message-ID": mail.message_id, "Auto-Submitted": "auto-generated"}
    url = mail.content.unsubscribe
    if url is None:
        return found
    if not _is_header_url(url):
        raise Unmailable(
            "the URL for unsubscribing is not a plain `https:` or `mailto:` URL",
            hint="percent-encode what is not ASCII in `NAME.unsubscribe.txt`",
        )
    found["List-Unsubscribe"] = f"<{url}>"
    if url.startswith("https:"):
        found["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return found


def check_subject(subject: str) -> str:
    """Return ``subject``, which must be one line of visible text.

    Raises Unmailable for a line break, a control character, an empty or an endless subject.
    """
    hint = "see `NAME.subject.txt` and what the context puts into it"
    if has_forbidden_characters(subject):
        raise Unmailable("the subject has a line break or another control character", hint=hint)
    if not subject or len(subject) > MAX_SUBJECT_LENGTH:
        said = f"the subject must have 1 to {MAX_SUBJECT_LENGTH} characters, not {len(subject)}"
        raise Unmailable(said, hint=hint)
    return subject


def compose(mail: OutgoingMail) -> bytes:
    """Return the message as SMTP carries it, without the dots that SMTP adds.

    Raises Unmailable when a header could not be written safely.
    """
    utf8 = not (mail.to.is_ascii and mail.sender.is_ascii)
    message = EmailMessage(policy=_WirePolicy(linesep="\r\n", cte_type="7bit", utf8=utf8))
    message["From"] = _header_address(mail.sender)
    message["To"] = _header_address(mail.to)
    message["Subject"] = check_subject(mail.content.subject)
    message["Date"] = format_datetime(mail.date)
    for name, value in headers(mail).items():
        message[name] = value
    message.set_content(_encodable(mail.content.text))
    if mail.content.html is not None:
        message.add_alternative(_encodable(mail.content.html), subtype="html")
    return message.as_bytes()


def _header_address(address: Address) -> HeaderAddress:
    return HeaderAddress(display_name=address.name, username=address.local, domain=address.domain)


def _is_header_url(url: str) -> bool:
    plain = url.isascii() and url.isprintable() and not any(character in url for character in " <>,\"'")
    return plain and len(url) <= MAX_URL_LENGTH and url.startswith(("https://", "mailto:"))


def _encodable(text: str) -> str:
    # JSON may carry half a surrogate pair, which no encoding of a mail can.
    return text.encode("utf-8", errors="replace").decode("utf-8")
