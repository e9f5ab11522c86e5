"""A broker in memory, as far as dead letters need one; tests/contract compares it with the real one.

It can be told to break: ``moves`` counts down with each thing that is asked of it, and at zero the one who
asks dies, either before it is done or after. What was held is then back, as with a connection that went.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fleet.errors import BrokerRefused
from fleet.journal.record import Outcome, decode
from fleet.letters.letter import Letter, read_letter
from fleet.letters.look import Held
from fleet.publish.channel import Refusal, RefusalKind
from fleet.publish.message import WireMessage
from fleet.routes import JOURNAL_EXCHANGE, TASK_EXCHANGE

EXCHANGES = frozenset({JOURNAL_EXCHANGE, TASK_EXCHANGE})


class Died(Exception):
    """The process was killed."""


@dataclass(kw_only=True)
class BrokerModel:
    """Queues of letters, and a clock."""

    dead_letter_queue: str
    #: letters that nobody holds, in order
    ready: list[Letter] = field(default_factory=list)
    #: what was sent to a task queue, and noted in the journal
    sent: list[WireMessage] = field(default_factory=list)
    #: task id → how often a message of it was sent
    taken: Counter[str] = field(default_factory=Counter)
    notes: list[Outcome] = field(default_factory=list)
    #: messages that the task queue still takes; None means any number
    room: int | None = None
    #: the largest body that it takes; it closes the channel over a larger one, and drops what came behind it
    most_bytes: int | None = None
    now: float = 1000.0
    #: requests until somebody dies; None means never
    moves: int | None = None
    #: the one who dies has still done it
    dies_after: bool = False

    def look(self) -> "LookModel":
        return LookModel(self)

    def deliver(
        self, messages: Sequence[WireMessage], *, timeout_seconds: float
    ) -> tuple[Refusal | None, ...]:
        assert len({message.message_id for message in messages}) == len(messages)
        del timeout_seconds
        told: list[Refusal | None] = []
        for message in messages:
            if self._closes_over(message):
                if len(messages) == 1:
                    raise BrokerRefused("the broker refused: closed")
                behind = [Refusal(kind=RefusalKind.UNKNOWN, reason="closed")] * (
                    len(messages) - len(told) - 1
                )
                return (*told, Refusal(kind=RefusalKind.REJECTED, reason="closed"), *behind)
            told.append(self._deliver(message))
        return tuple(told)

    def _closes_over(self, message: WireMessage) -> bool:
        is_too_large = self.most_bytes is not None and len(message.body) > self.most_bytes
        return is_too_large or message.exchange not in EXCHANGES

    def _deliver(self, message: WireMessage) -> Refusal | None:
        dies = self._moved()
        if dies and not self.dies_after:
            raise Died
        refusal = None
        if message.exchange == "fleet.journal":
            self.notes.append(decode(message.body))
        elif self.room == 0:
            refusal = Refusal(kind=RefusalKind.REJECTED, reason="negative confirm")
        else:
            self.room = None if self.room is None else self.room - 1
            self.sent.append(message)
            self.taken[message.message_id] += 1
        if dies:
            raise Died
        return refusal

    def _moved(self) -> bool:
        if self.moves is None:
            return False
        self.moves -= 1
        return self.moves == 0

    def die_again(self, message: WireMessage) -> Letter:
        """Return ``message`` as a letter: its task failed once more."""
        notes = {
            "fleet_refused_reason": "not_allowed",
            "fleet_refused_queue": message.routing_key,
            "fleet_refused_routing_key": message.routing_key,
            "fleet_refused_time": self.now,
        }
        return read_letter(
            dead_letter_queue=self.dead_letter_queue,
            headers=dict(message.headers) | notes,
            properties=dict(message.properties),
            body=message.body,
        )


class LookModel:
    """A look into the model's dead-letter queue."""

    def __init__(self, broker: BrokerModel) -> None:
        self._broker = broker
        self.size = len(broker.ready)
        self.doubt: str | None = None
        self._held: dict[int, Letter] = {}

    def letters(self, *, at_most: int | None = None) -> Iterator[Held]:
        for tag in range(1, (self.size if at_most is None else min(self.size, at_most)) + 1):
            if not self._broker.ready:
                return
            self._held[tag] = self._broker.ready.pop(0)
            yield Held(tag=tag, letter=self._held[tag])

    def acknowledge(self, held: Held) -> None:
        dies = self._broker._moved()
        if dies and not self._broker.dies_after:
            raise Died
        del self._held[held.tag]
        if dies:
            raise Died

    def wait(self, seconds: float) -> None:
        self._broker.now += seconds

    def __enter__(self) -> "LookModel":
        return self

    def __exit__(self, *error: object) -> None:
        self._broker.ready = [*self._held.values(), *self._broker.ready]
        self._held = {}
