"""Does a task go to the broker now, or to the outbox?

To the outbox when no broker answers, and when older tasks of its queue are there already: it must not
overtake them. What the broker refuses is refused, as without an outbox.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    FleetError,
    OutboxBusy,
    OutboxFull,
    OutboxUnusable,
    PublishUncertain,
)
from fleet.outbox.forward import Sender, forward
from fleet.outbox.record import require_publishable
from fleet.outbox.store import Outbox
from fleet.publish.message import TaskMessage

#: for so long after a failure nothing is tried: a dead broker must not cost each sender its time limit again
RETRY_SECONDS = 10.0
#: what a sender spends on tasks that others left behind, at most, before it sends its own
FORWARD_SECONDS = 2.0


class Place(StrEnum):
    """Where a task is that was accepted."""

    BROKER = "broker"
    OUTBOX = "outbox"


Fate = Place | FleetError


class OutboxSender:
    """Sends through a publisher, and keeps in an outbox what cannot be sent now."""

    def __init__(
        self,
        outbox: Outbox,
        open_sender: Callable[[], Sender],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        #: called when first needed: a password may be missing on a machine that only keeps
        self._open_sender = open_sender
        self._clock = clock
        self._monotonic = monotonic
        self._away: BrokerUnreachable | None = None
        self._retry_at = 0.0
        self._forward_at = 0.0

    def deliver(self, messages: Sequence[TaskMessage]) -> tuple[Fate, ...]:
        """Send ``messages`` in order; return for each where it is, or why it is nowhere.

        Raises UsageError, before anything is sent, for a message that could never be published.
        """
        now = self._clock()
        stamped = [
            message if message.first_sent is not None else replace(message, first_sent=now)
            for message in messages
        ]
        for message in stamped:
            require_publishable(message)
        fates: list[Fate] = []
        while len(fates) < len(stamped) and not self._is_away():
            fates.append(self._send(stamped[len(fates)]))
        return (*fates, *self._keep(stamped[len(fates) :], why=_of_another(self._away)))

    def _is_away(self) -> bool:
        return self._away is not None and self._monotonic() < self._retry_at

    def _send(self, message: TaskMessage) -> Fate:
        try:
            if self._must_wait(message.queue.name):
                return self._keep([message], why=None)[0]
            self._open_sender().send(message)
        except BrokerUnreachable as error:
            self._away, self._retry_at = error, self._monotonic() + RETRY_SECONDS
            return self._keep([message], why=error)[0]
        except (BrokerRefused, OutboxUnusable) as error:
            return error
        self._away = None
        return Place.BROKER

    def _must_wait(self, queue: str) -> bool:
        """Tell whether older tasks of ``queue`` are in the outbox, after trying to forward them."""
        if not self._outbox.has_backlog():
            return False
        if self._monotonic() >= self._forward_at:
            self._forward()
        return self._outbox.has_backlog(queue)

    def _forward(self) -> None:
        deadline = self._monotonic() + FORWARD_SECONDS
        try:
            done = forward(
                self._outbox,
                self._open_sender(),
                clock=self._clock,
                is_over=lambda: self._monotonic() >= deadline,
            )
        except OutboxBusy:
            return
        if done.held:
            self._forward_at = self._monotonic() + RETRY_SECONDS
        stopped = _of_another(done.stopped)
        if stopped is not None:
            raise stopped from done.stopped

    def _keep(self, messages: Sequence[TaskMessage], *, why: BrokerUnreachable | None) -> tuple[Fate, ...]:
        if not messages:
            return ()
        try:
            self._outbox.keep(messages, now=self._clock())
        except (OutboxFull, OutboxUnusable) as error:
            return (_not_kept(error, why),) * len(messages)
        return (Place.OUTBOX,) * len(messages)


def _of_another(error: BrokerUnreachable | None) -> BrokerUnreachable | None:
    """Return what the failure to send one message means for another, which was not tried."""
    return None if error is None else BrokerUnreachable(error.message, hint=error.hint)


def _not_kept(error: OutboxFull | OutboxUnusable, why: BrokerUnreachable | None) -> FleetError:
    if why is None:
        return error
    kind = PublishUncertain if isinstance(why, PublishUncertain) else type(error)
    return kind(f"{why.message}; {error.message}", hint=error.hint)
