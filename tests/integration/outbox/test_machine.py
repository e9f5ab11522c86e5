"""Whatever happens in whatever order: nothing that was accepted is lost, and no queue changes its order."""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.errors import BrokerRefused, OutboxFull, PublishUncertain
from fleet.outbox import Outbox, Volume, forward
from fleet.outbox.sending import Fate, OutboxSender, Place
from tests.integration.outbox.broker import EMAIL, SHOP, Fault, Killed, ToldBroker, task

QUEUES = st.sampled_from([EMAIL, EMAIL, SHOP])
FAULTS = st.sampled_from([None, None, None, *Fault])
#: of programs that send to the same outbox
SENDERS = st.sampled_from([0, 0, 1])
ROOMY = 1000
#: memory serves as well as a disk here, and much faster
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class World:
    """How things stand when something happens."""

    is_up: bool
    refusing: frozenset[str]
    #: since the last time
    seconds: float
    fault: Fault | None


FINE = World(is_up=True, refusing=frozenset(), seconds=0.0, fault=None)
WORLDS = st.just(FINE) | st.builds(
    World,
    is_up=st.booleans(),
    refusing=st.sampled_from([frozenset(), frozenset([EMAIL.name])]),
    seconds=st.sampled_from([0.0, 11.0]),
    fault=FAULTS,
)


def without_repetitions(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


class OutboxMachine(RuleBasedStateMachine):
    """Programs that share an outbox and a broker, and what they may rely on."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.outbox = Outbox(self.directory / "outbox.sqlite3", fleet="test")
        self.broker = ToldBroker()
        self.now = 0.0
        self.senders = [self.new_sender(), self.new_sender()]
        #: queue → ids in the order in which they were accepted
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self.discarded: set[str] = set()
        #: what may have been published twice
        self.faults = 0
        self.max_messages = ROOMY

    def new_sender(self) -> OutboxSender:
        return OutboxSender(self.outbox, lambda: self.broker, clock=self.time, monotonic=self.time)

    def time(self) -> float:
        return self.now

    def waiting(self, queue: str) -> list[str]:
        return [kept.message.task_id for kept in self.outbox.tasks() if kept.message.queue.name == queue]

    @contextmanager
    def happening_in(self, world: World) -> Iterator[None]:
        """Make the world so; the fault, if any, befalls the first message that is tried."""
        self.now += world.seconds
        self.broker.is_up, self.broker.refusing = world.is_up, set(world.refusing)
        self.broker.fault = world.fault
        self.faults += world.fault is not None
        yield
        self.broker.fault = None

    def note(self, queue: str, task_ids: list[str], fates: tuple[Fate, ...]) -> None:
        for task_id, fate in zip(task_ids, fates, strict=True):
            if isinstance(fate, Place):
                self.accepted[queue].append(task_id)
                if fate is Place.OUTBOX:
                    assert self.outbox.backlog().volume.messages <= self.max_messages
            else:
                assert isinstance(fate, BrokerRefused | OutboxFull | PublishUncertain), fate

    @rule(queue=QUEUES, number=SENDERS, count=st.integers(1, 3), world=WORLDS)
    def send(self, queue, number, count, world) -> None:  # type: ignore[no-untyped-def]
        messages = [task(queue=queue) for _ in range(count)]
        try:
            with self.happening_in(world):
                fates = self.senders[number].deliver(messages)
        except Killed:
            # Whoever sent them knows nothing of them; what was kept or published before may well arrive.
            self.senders[number] = self.new_sender()
            arrived = [*self.broker.queues[queue.name], *self.waiting(queue.name)]
            sent = {message.task_id for message in messages}
            self.accepted[queue.name] += [one for one in without_repetitions(arrived) if one in sent]
        else:
            self.note(queue.name, [message.task_id for message in messages], fates)

    @precondition(lambda self: self.outbox.has_backlog())
    @rule(world=WORLDS)
    def forward(self, world) -> None:  # type: ignore[no-untyped-def]
        with suppress(Killed), self.happening_in(world):
            forward(self.outbox, self.broker, clock=self.time)

    @rule(number=SENDERS)
    def a_program_starts_anew(self, number) -> None:  # type: ignore[no-untyped-def]
        self.senders[number] = self.new_sender()

    @rule(messages=st.sampled_from([2, ROOMY, ROOMY, ROOMY]))
    def the_operator_sets_a_limit(self, messages) -> None:  # type: ignore[no-untyped-def]
        self.max_messages = messages
        self.outbox.set_limits(Volume(messages=messages, bytes=10**9))

    @precondition(lambda self: self.outbox.has_backlog())
    @rule(data=st.data())
    def the_operator_discards_a_task(self, data) -> None:  # type: ignore[no-untyped-def]
        kept = data.draw(st.sampled_from(self.outbox.tasks()))
        self.outbox.discard([kept.number])
        self.discarded.add(kept.message.task_id)

    @invariant()
    def nothing_is_lost_and_each_queue_keeps_its_order(self) -> None:
        for queue, accepted in self.accepted.items():
            arrived = without_repetitions([*self.broker.queues[queue], *self.waiting(queue)])
            expected = [one for one in accepted if one in arrived or one not in self.discarded]
            assert [one for one in arrived if one in accepted] == expected

    @invariant()
    def only_a_fault_makes_a_task_arrive_twice(self) -> None:
        arrived = [one for ids in self.broker.queues.values() for one in ids]
        assert len(arrived) - len(set(arrived)) <= self.faults

    @invariant()
    def the_outbox_counts_right(self) -> None:
        backlog = self.outbox.backlog()
        tasks = self.outbox.tasks()
        assert backlog.volume == Volume(messages=len(tasks), bytes=sum(kept.bytes for kept in tasks))

    def teardown(self) -> None:
        self.broker.is_up, self.broker.refusing = True, set()
        done = forward(self.outbox, self.broker, clock=self.time)
        assert (done.left, done.held, done.stopped) == (0, (), None)
        self.nothing_is_lost_and_each_queue_keeps_its_order()
        shutil.rmtree(self.directory)


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(
    max_examples=150,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
