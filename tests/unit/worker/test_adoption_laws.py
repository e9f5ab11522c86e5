"""May what a worker remembers of ended runs ever cost a message its run, whatever connections are lost?

The queue is a quorum queue as far as it matters here: it gives a worker no more than its prefetch, keeps the
acknowledgements of one connection in their order, and takes back what was not kept when the connection goes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fleet.worker.adoption import LOST_CONNECTIONS, Adoptions, Settled

QUEUE = "fleet.mail"
PREFETCH = 2
WORKERS = st.sampled_from(("alpha", "beta"))


@dataclass(eq=False)
class Letter:
    """One publish; ``delivery_info`` is that of its latest delivery."""

    headers: Mapping[str, Any]
    body: bytes | str = b"[[], {}, {}]"
    delivery_info: Mapping[str, Any] = field(default_factory=dict)
    redelivered: bool = False
    #: how its run ended, by worker
    ended: dict[str, Settled] = field(default_factory=dict)


@dataclass(eq=False)
class Worker:
    """A worker, what the broker counts as unacknowledged by it, and what of that it runs or has settled."""

    adoptions: Adoptions
    connection: int = 0
    held: list[Letter] = field(default_factory=list)
    running: list[Letter] = field(default_factory=list)
    settled: list[Letter] = field(default_factory=list)


class LostConnections(RuleBasedStateMachine):
    """Everything that may happen between a queue and its workers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[Letter] = []
        self.all: list[Letter] = []
        remembered = LOST_CONNECTIONS * PREFETCH
        self.workers = {
            name: Worker(Adoptions([QUEUE], adopting=[], remembered=remembered)) for name in ("alpha", "beta")
        }

    @rule(is_stamped=st.booleans())
    def publish(self, *, is_stamped: bool) -> None:
        """Send a task of the one id that all have; only a foreign sender does not stamp it."""
        headers = {"id": "1", "task": "t", "retries": 0, "fleet_sent": len(self.all) if is_stamped else None}
        self.all.append(Letter(headers=headers))
        self.queue.append(self.all[-1])

    @rule(name=WORKERS)
    def deliver(self, name: str) -> None:
        """Give the worker what its prefetch allows; it does with each message what the strategy does."""
        worker = self.workers[name]
        while self.queue and len(worker.held) < PREFETCH:
            letter = self.queue.pop(0)
            worker.held.append(letter)
            self._receive(name, letter)

    def _receive(self, name: str, letter: Letter) -> None:
        worker = self.workers[name]
        letter.delivery_info = {
            "fleet_queue": QUEUE,
            "fleet_connection": worker.connection,
            "redelivered": letter.redelivered,
        }
        worker.adoptions.forget(letter)
        settled = worker.adoptions.ended(letter)
        if settled is None:
            is_stamped = letter.headers["fleet_sent"] is not None
            assert not (is_stamped and name in letter.ended), "it has run here"
            worker.running.append(letter)
        else:
            assert letter.ended.get(name) == settled, "it was settled and has not run here"
            self._settle(worker, letter, settled)

    @rule(name=WORKERS, settled=st.sampled_from(("ack", "reject")))
    def end(self, name: str, settled: Settled) -> None:
        """Let the oldest run of the worker end."""
        worker = self.workers[name]
        if worker.running:
            letter = worker.running.pop(0)
            letter.ended[name] = settled
            self._settle(worker, letter, settled)

    @rule(name=WORKERS)
    def keep(self, name: str) -> None:
        """Let the broker keep the next acknowledgement of the worker."""
        worker = self.workers[name]
        if worker.settled:
            worker.held.remove(worker.settled.pop(0))

    @rule(names=st.sets(WORKERS, min_size=1))
    def lose(self, names: set[str]) -> None:
        """Lose connections: what runs is stopped, and all that was not kept goes back to the queue's head."""
        for worker in (self.workers[name] for name in sorted(names)):
            for letter in worker.held:
                letter.redelivered = True
            self.queue[:0] = worker.held
            worker.held, worker.running, worker.settled = [], [], []
            worker.connection += 1

    @invariant()
    def nothing_is_gone_without_a_run(self) -> None:
        """Every message is in the queue, with a worker, or was run to its end."""
        there = [*self.queue, *(letter for worker in self.workers.values() for letter in worker.held)]
        assert all(letter.ended or any(letter is each for each in there) for letter in self.all)

    @staticmethod
    def _settle(worker: Worker, letter: Letter, settled: Settled) -> None:
        worker.adoptions.remember(letter, settled=settled)
        worker.settled.append(letter)


TestLostConnections = LostConnections.TestCase
TestLostConnections.settings = settings(stateful_step_count=40)
