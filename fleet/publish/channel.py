"""How does a batch of messages reach RabbitMQ for certain? Mandatory, confirmed, within a time limit."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from amqp.exceptions import AMQPError

from fleet.connection import Target
from fleet.errors import FleetError
from fleet.publish.fate import Fate, FateKind, unsent
from fleet.publish.link import IDLE_SECONDS, Link
from fleet.publish.message import WireMessage
from fleet.publish.stream import Stream, not_opened

__all__ = ["IDLE_SECONDS", "ConfirmedChannel", "Refusal", "RefusalKind"]


class RefusalKind(StrEnum):
    """Why a message is not known to be with the broker."""

    #: no queue is bound for it
    UNROUTABLE = "unroutable"
    #: a queue would not have it: it is full, or too few of its nodes are up
    REJECTED = "rejected"
    #: it was written, and no answer came, or only a later copy was refused: it may be in its queue, or not
    UNKNOWN = "unknown"
    #: it was not written, for what had happened before
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What is known of a message that the broker has not confirmed."""

    kind: RefusalKind
    #: in the broker's own words, what a negative confirm means, or what happened to the connection
    reason: str

    @property
    def is_answer(self) -> bool:
        """Tell whether the broker itself would not have the message."""
        return self.kind in (RefusalKind.UNROUTABLE, RefusalKind.REJECTED)


class ConfirmedChannel:
    """A channel to a broker that opens by itself and says for each message what became of it."""

    def __init__(self, target: Target, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._link = Link(target, clock=clock)

    @property
    def target(self) -> Target:
        """Return where, and as whom, this channel connects."""
        return self._link.target

    @property
    def is_blocked(self) -> bool:
        """Tell whether the broker has said that it reads nothing from publishers now."""
        return self._link.is_blocked

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Publish ``messages`` once and return, for each, None or why it is not known to be there.

        Once more where the broker closes the channel over one of several, to find out over which. Raises
        when nothing is known of any of several, or of a single one what ended it: BrokerUnreachable (nothing
        was sent), BrokerRefused (login, vhost, exchange or permission), or PublishUncertain when a confirm
        did not come, for a lost connection or within ``timeout_seconds``.
        """
        fates: list[Fate] = []
        try:
            for fate in self.fates(messages, timeout_seconds=timeout_seconds, reconnects=False):
                fates.append(fate)  # what came before an error counts, too
        except FleetError as error:
            if len(messages) == 1 or not any(fate.is_answered for fate in fates):
                raise
            fates += unsent(len(messages) - len(fates), error)
        return tuple(refusal_of(fate) for fate in fates)

    def fates(
        self,
        messages: Iterable[WireMessage],
        *,
        timeout_seconds: float,
        reconnects: bool = True,
        waits: bool = False,
    ) -> Iterator[Fate]:
        """Publish ``messages`` and yield the fate of each, in order; see ``fleet.publish.stream``.

        ``waits`` for a broker when none answers at first, as for one that was there and went.
        """
        stream = Stream(
            self._link,
            timeout_seconds=timeout_seconds,
            reconnects=reconnects,
            waits=waits,
            clock=self._clock,
        )
        return stream.fates(messages)

    def open(self) -> None:
        """Connect, unless connected; raises BrokerUnreachable or BrokerRefused."""
        try:
            self._link.open()
        except (OSError, AMQPError) as error:
            raise not_opened(error) from error

    def drop(self) -> None:
        """Close the socket at once; a broker that has stopped reading would not answer a polite close."""
        self._link.drop()

    def close(self) -> None:
        """Close the connection in order; bounded by the read timeout."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refusal_of(fate: Fate) -> Refusal | None:
    """Return why a message is not known to be with the broker; None when it has it."""
    if fate.accepted:
        return None
    return Refusal(kind=_REFUSALS[fate.kind], reason=fate.reason)


def decisive(told: Sequence[Refusal | None]) -> Refusal | None:
    """Return the first refusal that is the broker's own, else the first; None where there is none."""
    refusals = [refusal for refusal in told if refusal is not None]
    return next((refusal for refusal in refusals if refusal.is_answer), refusals[0] if refusals else None)


_REFUSALS = {
    FateKind.UNROUTABLE: RefusalKind.UNROUTABLE,
    FateKind.REFUSED: RefusalKind.REJECTED,
    FateKind.UNKNOWN: RefusalKind.UNKNOWN,
    FateKind.UNSENT: RefusalKind.UNSENT,
}
