"""What became of a message, as far as its sender can know?"""

from dataclasses import dataclass
from enum import StrEnum

from fleet.errors import FleetError


class FateKind(StrEnum):
    """How the sending of one message ended."""

    #: the broker has it for certain
    ACCEPTED = "accepted"
    #: no queue is bound for it
    UNROUTABLE = "unroutable"
    #: the broker would not have it: a full queue, too few of its nodes, a missing right
    REFUSED = "refused"
    #: it was written, and no answer came, or only a later copy was refused: it may or may not be queued
    UNKNOWN = "unknown"
    #: it was never written, so it is in no queue
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one message."""

    kind: FateKind
    #: in the broker's own words, or what happened to the connection; empty when it was accepted
    reason: str = ""
    #: how often it was written; more than once, under the same id, when a connection was lost in between
    writes: int = 1
    #: the broker closed the channel over it: for its size, a missing exchange or right, not for its queue
    closed_channel: bool = False

    @property
    def accepted(self) -> bool:
        """Tell whether the broker has the message."""
        return self.kind is FateKind.ACCEPTED

    @property
    def is_answered(self) -> bool:
        """Tell whether the broker has said whether it has the message."""
        return self.kind not in (FateKind.UNKNOWN, FateKind.UNSENT)

    @property
    def may_be_queued_twice(self) -> bool:
        """Tell whether a lost connection may have left the message in its queue more than once."""
        return self.writes > 1


def unsent(count: int, error: FleetError) -> list[Fate]:
    """Return the fate of ``count`` messages that ``error`` came before."""
    return [Fate(kind=FateKind.UNSENT, reason=error.message, writes=0)] * count
