"""What does this answer, or this silence, mean for the mail? The classification tables, pure.

The rule behind them: once the whole message is on its way, only an answer can say that it was not accepted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from fleet.mail.policy import Kind, Verdict


class Stage(StrEnum):
    """How far a delivery came; the value reads as the end of "while …"."""

    CONNECT = "connecting"
    HELLO = "greeting"
    TLS = "starting TLS"
    LOGIN = "logging in"
    SENDER = "naming the sender"
    RECIPIENT = "naming the recipient"
    DATA = "announcing the message"
    #: the message is not complete at the server, so it cannot be accepted
    BODY = "sending the message"
    #: the message is complete at the server or on its way there
    ANSWER = "awaiting the answer to the message"


class Fault(StrEnum):
    """What happened where no answer, or no sensible one, came; the value is for operators."""

    NO_SUCH_NAME = "the name of the server does not exist"
    NAME_UNRESOLVED = "the name of the server could not be looked up"
    UNREACHABLE = "the server could not be reached"
    TIMED_OUT = "the server did not answer in time"
    DISCONNECTED = "the server closed the connection"
    GARBLED = "the answer makes no sense"
    CERTIFICATE = "the server's certificate is not valid for it"
    TLS = "the server does not speak TLS as asked"
    NO_STARTTLS = "the server offers no STARTTLS, and a mail never goes in the clear"
    NO_AUTH = "the server offers no login by PLAIN or LOGIN"
    NO_SMTPUTF8 = "the server cannot take an address that is not ASCII"


_OUR_FAULTS = frozenset({Fault.NO_SUCH_NAME, Fault.CERTIFICATE, Fault.TLS, Fault.NO_STARTTLS, Fault.NO_AUTH})
#: what is refused for good before a sender was named has nothing to do with this mail
_OUR_STAGES = frozenset({Stage.CONNECT, Stage.HELLO, Stage.TLS, Stage.LOGIN})
#: authentication required, mechanism too weak, credentials invalid, encryption required
_OUR_CODES = frozenset({530, 534, 535, 538})
#: mailbox full: said as permanent, but it passes
_PASSING = frozenset({"5.2.2"})
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
#: a repeated request cannot help, but no mail is at fault: key or sender not valid, wrong URL
_OUR_STATUSES = frozenset({401, 403, 404, 405, 406, 415})
_LATER_STATUSES = frozenset({408, 425, 429, 503})
_CONFIGURATION_HINT = "check [mail] in the fleet file, then run `fleet mail check --connect` on this host"
_UNKNOWN_HINT = "look for its Message-ID at the receiving server before you send it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An SMTP reply."""

    code: int
    #: without addresses
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def smtp_verdict(server: str, stage: Stage, reply: Reply) -> Verdict:
    """Return what an unwelcome ``reply`` at ``stage`` means."""
    found = _ENHANCED.match(reply.text)
    enhanced = found[0] if found else None
    kind = Kind.TRANSIENT if enhanced in _PASSING else _smtp_kind(stage, reply.code)
    return Verdict(
        kind=kind,
        reason=f"{server} answered `{reply}` while {stage}",
        code=reply.code,
        enhanced=enhanced,
        hint=_hint(kind),
    )


def fault_verdict(server: str, stage: Stage, fault: Fault, *, detail: str = "") -> Verdict:
    """Return what it means that ``fault`` happened at ``stage``."""
    kind = _fault_kind(stage, fault)
    said = f" ({detail})" if detail else ""
    return Verdict(kind=kind, reason=f"{server}: {fault}{said}, while {stage}", hint=_hint(kind))


def http_verdict(
    server: str, status: int, words: str, *, headers: Mapping[str, str], now: datetime
) -> Verdict:
    """Return what an HTTP ``status`` other than success means; ``words`` is the answer without addresses."""
    kind = _http_kind(status)
    said = f" `{words}`" if words else ""
    return Verdict(
        kind=kind,
        reason=f"{server} answered {status}{said}",
        code=status,
        retry_after_seconds=retry_after(headers, now=now) if kind is Kind.TRANSIENT else None,
        hint=_hint(kind),
    )


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` (or ``X-RateLimit-Reset``, epoch seconds) asks for."""
    after = headers.get("Retry-After", "").strip()
    if after.isascii() and after.isdigit():
        return float(after[:9])
    if after:
        return _until(after, now)
    reset = headers.get("X-RateLimit-Reset", "").strip()
    if reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:12]) - now.timestamp())
    return None


def _until(date: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _smtp_kind(stage: Stage, code: int) -> Kind:
    if 400 <= code < 500:
        return Kind.TRANSIENT
    if not 500 <= code < 600:
        return _fault_kind(stage, Fault.GARBLED)
    return Kind.CONFIGURATION if stage in _OUR_STAGES or code in _OUR_CODES else Kind.PERMANENT


def _fault_kind(stage: Stage, fault: Fault) -> Kind:
    if stage is Stage.ANSWER:
        return Kind.UNKNOWN
    if fault is Fault.NO_SMTPUTF8:
        return Kind.PERMANENT
    return Kind.CONFIGURATION if fault in _OUR_FAULTS else Kind.TRANSIENT


def _http_kind(status: int) -> Kind:
    if status in _LATER_STATUSES:
        return Kind.TRANSIENT
    if status in _OUR_STATUSES or 300 <= status < 400:
        return Kind.CONFIGURATION
    if 400 <= status < 500:
        return Kind.PERMANENT
    # 500, 502 and 504 can follow the moment at which the mail was accepted, and there is no idempotency key.
    return Kind.UNKNOWN


def _hint(kind: Kind) -> str | None:
    return {Kind.CONFIGURATION: _CONFIGURATION_HINT, Kind.UNKNOWN: _UNKNOWN_HINT}.get(kind)
