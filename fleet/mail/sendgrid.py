"""What does SendGrid's v3 API want to hear, and what do its answers say?

After https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send; pure.
"""

import json
from collections.abc import Mapping

from fleet.mail.address import Address
from fleet.mail.message import OutgoingMail, check_subject, headers
from fleet.mail.policy import without_addresses

SEND_PATH = "/v3/mail/send"
SCOPES_PATH = "/v3/scopes"
SEND_SCOPE = "mail.send"


def payload(mail: OutgoingMail) -> bytes:
    """Return the body of the request that sends ``mail``.

    Raises Unmailable when a header could not be written safely.
    """
    content = [{"type": "text/plain", "value": mail.content.text}]
    if mail.content.html is not None:
        # The API wants the plain text first.
        content.append({"type": "text/html", "value": mail.content.html})
    record = {
        "personalizations": [{"to": [_mailbox(mail.to)]}],
        "from": _mailbox(mail.sender),
        "subject": check_subject(mail.content.subject),
        "content": content,
        "headers": dict(headers(mail)),
        # The event webhook repeats it, whatever became of the header.
        "custom_args": {"fleet_message_id": mail.message_id},
    }
    return json.dumps(record).encode("ascii")


def words(body: bytes) -> str:
    """Return what an answer's ``errors`` say, without mail addresses; empty when it is not such an answer."""
    try:
        errors = json.loads(body)["errors"]
        messages = [str(error["message"]) for error in errors]
    except (ValueError, KeyError, TypeError):
        return ""
    return without_addresses("; ".join(messages))


def may_send(body: bytes) -> bool:
    """Tell whether the answer of ``SCOPES_PATH`` lets its API key send mail."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    scopes = answer.get("scopes") if isinstance(answer, Mapping) else None
    return isinstance(scopes, list) and SEND_SCOPE in scopes


def _mailbox(address: Address) -> dict[str, str]:
    mailbox = {"email": address.addr_spec}
    return mailbox | {"name": address.name} if address.name else mailbox
