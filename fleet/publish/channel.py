"""How does a batch of messages reach RabbitMQ for certain? Mandatory, confirmed, within a time limit."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from amqp.exceptions import AMQPError

from fleet.connection import Target
from fleet.publish.fate import Fate, FateKind
from fleet.publish.link import IDLE_SECONDS, Link
from fleet.publish.message import WireMessage
from fleet.publish.stream import Stream, not_opened

__all__ = ["IDLE_SECONDS", "ConfirmedChannel", "Refusal", "RefusalKind"]


class RefusalKind(StrEnum):
    """Why the broker did not take a message."""

    #: no queue is bound for it
    UNROUTABLE = "unroutable"
    #: a queue would not have it: it is full, or too few of its nodes are up
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The broker's answer to a message that it did not take."""

    kind: RefusalKind
    #: in the broker's own words, or what a negative confirm means
    reason: str


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
        """Publish ``messages`` once and return, for each, None or why the broker did not take it.

        Raises BrokerUnreachable (nothing was sent), BrokerRefused (login, vhost, exchange or permission), or
        PublishUncertain when a confirm did not come, for a lost connection or within ``timeout_seconds``.
        """
        fates = self.fates(messages, timeout_seconds=timeout_seconds, reconnects=False)
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
    """Return why the broker did not take a message; None when it has it."""
    if fate.accepted:
        return None
    is_unroutable = fate.kind is FateKind.UNROUTABLE
    kind = RefusalKind.UNROUTABLE if is_unroutable else RefusalKind.REJECTED
    return Refusal(kind=kind, reason=fate.reason)
