"""How is a dead letter replayed or discarded, so that no moment of dying in between can lose it?

Replayed: the copy is confirmed in its queue, then the journal has the note, then the letter is acknowledged.
Discarded: the journal has the note, then the letter is acknowledged. Whoever dies in between leaves the
letter where it was: a replay can at worst make two messages of one task id, and nothing goes without a note.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleet.errors import BrokerRefused, PublishUncertain
from fleet.journal.record import DISCARDED, REPLAYED, Outcome, encode
from fleet.letters.letter import Letter
from fleet.letters.replay import Hindrance, Rules, replayed
from fleet.publish.channel import Refusal, RefusalKind, decisive
from fleet.publish.message import WireMessage, new_task_id
from fleet.routes import JOURNAL_EXCHANGE, BrokerQueue, audit_key

#: for one batch; a broker that does not confirm in time ends the command
CONFIRM_SECONDS = 15.0
#: stands for what a stranger's message does not name
UNNAMED = "?"


class Door(Protocol):
    """What is needed of a publishing channel."""

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        """Publish, and return for each message None or why the broker did not take it."""
        ...


class Treatment(Protocol):
    """What is done with the letters that are meant."""

    def judge(self, letter: Letter, *, now: float) -> Hindrance | None:
        """Return why it cannot be done with ``letter``, or None."""
        ...

    def perform(self, letters: Sequence[Letter]) -> Sequence[Refusal | None]:
        """Do it, and return for each letter None (it may be acknowledged) or what the broker said."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Notes in the journal what an operator does; the broker vouches for the user's name."""

    door: Door
    user: str
    #: the machine that the command runs on
    host: str
    clock: Callable[[], float]

    def note(self, letters: Sequence[Letter], outcome: str) -> None:
        """Return when the journal has a note for each letter. Raises BrokerRefused, BrokerUnreachable."""
        notes = [self._note(letter, outcome) for letter in letters]
        refusal = decisive(self.door.deliver(notes, timeout_seconds=CONFIRM_SECONDS))
        if refusal is None:
            return
        if not refusal.is_answer:
            raise PublishUncertain(
                f"the notes of what is done may not all be in the journal: {refusal.reason}",
                hint="run it again; no letter is dealt with that is not noted",
            )
        raise BrokerRefused(
            f"the journal did not take the note of what is done: {refusal.reason}",
            hint="run `fleet provision broker`; no letter is dealt with that cannot be noted",
        )

    def _note(self, letter: Letter, outcome: str) -> WireMessage:
        now = self.clock()
        record = Outcome(
            task_id=letter.task_id or UNNAMED,
            task=letter.task or UNNAMED,
            queue=letter.origin or letter.dead_letter_queue,
            host=self.host,
            worker=audit_key(self.user),
            outcome=outcome,
            started=None,
            finished=now,
            runtime_seconds=None,
            wait_seconds=None,
            attempt=letter.replays + 1,
            error=letter.reason,
        )
        properties: dict[str, object] = {
            # One letter may be a copy of another, and answers are told apart by this.
            "correlation_id": new_task_id(),
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_mode": 2,
            "timestamp": int(now),
            # Refused by the broker when it is not who is logged in.
            "user_id": self.user,
        }
        return WireMessage(
            exchange=JOURNAL_EXCHANGE,
            routing_key=audit_key(self.user),
            body=encode(record),
            headers={},
            properties=properties,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Sends letters back to the queues they came from."""

    rules: Rules
    door: Door
    auditor: Auditor

    def judge(self, letter: Letter, *, now: float) -> Hindrance | None:
        """Return why ``letter`` cannot be sent back, or None."""
        verdict = self.rules.judge(letter, now=now)
        return verdict if isinstance(verdict, Hindrance) else None

    def perform(self, letters: Sequence[Letter]) -> Sequence[Refusal | None]:
        """Send them back, note it, and return which ones the broker took."""
        now = self.auditor.clock()
        copies = [replayed(letter, self._queue(letter), by=self.auditor.user, now=now) for letter in letters]
        refusals = self._send(copies)
        taken = [letter for letter, refusal in zip(letters, refusals, strict=True) if refusal is None]
        if taken:
            self.auditor.note(taken, REPLAYED)
        return refusals

    def _send(self, copies: Sequence[WireMessage]) -> Sequence[Refusal | None]:
        try:
            return self.door.deliver(copies, timeout_seconds=CONFIRM_SECONDS)
        except BrokerRefused as error:
            if len(copies) > 1:
                raise
            # One by one or among others, what the broker does not take ends a replay in the same way.
            return (Refusal(kind=RefusalKind.REJECTED, reason=error.message),)

    def _queue(self, letter: Letter) -> BrokerQueue:
        return self.rules.queues[str(letter.origin)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Gives letters up."""

    auditor: Auditor

    def judge(self, letter: Letter, *, now: float) -> Hindrance | None:
        """Return None: whatever it is, it can be given up."""
        del letter, now
        return None

    def perform(self, letters: Sequence[Letter]) -> Sequence[Refusal | None]:
        """Note it, so that they may be acknowledged."""
        self.auditor.note(letters, DISCARDED)
        return [None] * len(letters)
