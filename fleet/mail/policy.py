"""The mail did not go: is it lost for good, for now, or does nobody know? And what follows?

Pure. ``verdicts`` makes a Verdict of what a server said; ``decide`` makes of it what the task does:

=============  ===============================================  ========================================
kind           means                                            the task
=============  ===============================================  ========================================
transient      refused or not reached for now                   retries with backoff
configuration  our login, certificate or address of the server  retries with backoff, logs it as error
permanent      refused for good, this mail never goes           fails: dead letter
unknown        sent, but the answer was lost                    ``[mail] on_unknown``: hold or retry
=============  ===============================================  ========================================
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from fleet.errors import FleetError
from fleet.mail.address import Address
from fleet.model import Mail

#: a server may ask for a longer wait than ``retry_max_seconds``, up to this
MAX_RETRY_AFTER_SECONDS = 86_400.0
MAX_REPLY_LENGTH = 200
#: doublings beyond this are past any maximum
_MAX_DOUBLINGS = 32
_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")


class Kind(StrEnum):
    """What a failure means for this mail."""

    TRANSIENT = "transient"
    CONFIGURATION = "configuration"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What the task does with a failure."""

    RETRY = "retry"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a mail did not go; nothing in it names an address or shows content."""

    kind: Kind
    #: what failed, where, and the server's own words
    reason: str
    #: SMTP reply code or HTTP status; None where there was no answer
    code: int | None = None
    #: enhanced status code of RFC 3463, such as ``5.1.1``
    enhanced: str | None = None
    #: how long the server asked us to wait
    retry_after_seconds: float | None = None
    #: what an operator can do
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens next."""

    action: Action
    #: before the next attempt; 0 where there is none
    delay_seconds: float = 0.0


class MailFailure(FleetError):
    """A mail was not accepted, or nobody knows whether it was; each kind has a class of its own."""

    is_journaled = True

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"{verdict.kind}: {verdict.reason}", hint=verdict.hint)
        self.verdict = verdict

    @property
    def kind(self) -> Kind:
        """Return what the failure means for this mail."""
        return self.verdict.kind

    @property
    def retry_after(self) -> float | None:
        """Return how many seconds the server asked us to wait, if it did."""
        return self.verdict.retry_after_seconds

    def __reduce__(self) -> tuple[type["MailFailure"], tuple[Verdict]]:
        # A worker's child sends it to the main process.
        return type(self), (self.verdict,)


class MailDeferred(MailFailure):
    """The mail was refused for now, or the server was not reached."""


class MailMisconfigured(MailFailure):
    """The server's name, its certificate or our login is wrong; no mail is at fault."""


class MailRefused(MailFailure):
    """The mail was refused for good, or cannot be made."""


class MailUnknown(MailFailure):
    """The mail left, but the answer was lost: it may or may not have been accepted."""


def mail_failure(verdict: Verdict) -> MailFailure:
    """Return the error for ``verdict``, of its kind's class."""
    match verdict.kind:
        case Kind.TRANSIENT:
            return MailDeferred(verdict)
        case Kind.CONFIGURATION:
            return MailMisconfigured(verdict)
        case Kind.PERMANENT:
            return MailRefused(verdict)
        case Kind.UNKNOWN:
            return MailUnknown(verdict)


def decide(verdict: Verdict, *, mail: Mail, attempt: int, chance: float) -> Decision:
    """Return what follows ``verdict`` at the ``attempt``-th try (1 is the first); ``chance`` is in [0, 1)."""
    held = verdict.kind is Kind.UNKNOWN and mail.on_unknown == "hold"
    if held or verdict.kind is Kind.PERMANENT:
        return Decision(action=Action.DEAD_LETTER)
    return Decision(action=Action.RETRY, delay_seconds=retry_delay(verdict, mail, attempt, chance))


def retry_delay(verdict: Verdict, mail: Mail, attempt: int, chance: float) -> float:
    """Return the seconds to wait: full jitter below a doubling ceiling, after what the server asked for."""
    doublings = min(attempt - 1, _MAX_DOUBLINGS)
    jittered = chance * min(mail.retry_max_seconds, mail.retry_base_seconds * 2.0**doublings)
    asked = verdict.retry_after_seconds
    if asked is None or not math.isfinite(asked) or asked <= 0:
        return jittered
    # On top, so that everything that was refused together does not come back together.
    return min(asked, MAX_RETRY_AFTER_SECONDS) + min(jittered, mail.retry_base_seconds)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine, the only place that is mailed to without TLS."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def without_addresses(text: str, to: Address | None = None) -> str:
    """Return a server's words without mail addresses and control characters, cut to a line for a log."""
    shown = _ADDRESS.sub("<address>", "".join(c if c.isprintable() else " " for c in text))
    if to is not None:
        shown = re.sub(rf"(?<!\w){re.escape(to.local)}(?!\w)", "<recipient>", shown, flags=re.IGNORECASE)
    return " ".join(shown.split())[:MAX_REPLY_LENGTH]
