"""Whatever an operator does, and whenever their process is killed: no letter is ever lost."""

from collections import Counter
from collections.abc import Mapping, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.journal.record import Outcome
from fleet.letters.letter import Letter
from fleet.letters.replay import MAX_REPLAYS
from fleet.letters.select import Selection
from fleet.ops.letters.act import Order, Report, Work
from fleet.ops.letters.treat import Auditor, Discard, Replay
from tests.unit.letters.broker_model import BrokerModel, Died
from tests.unit.letters.samples import DEAD, RULES, refused

TASKS = st.sampled_from(["fleet.send_mail", "shop.charge"])
SELECTIONS = st.sampled_from([Selection(), Selection(task="shop.*"), Selection(exception="*")])


class NoHistory:
    """A journal that knows nothing."""

    def last(self, letters: Sequence[Letter]) -> Mapping[str, Outcome]:
        return {}


class Letters(RuleBasedStateMachine):
    """Letters that lie, are replayed, fail again, are discarded; and operators who die meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = BrokerModel(dead_letter_queue=DEAD)
        self.laid: dict[str, str] = {}
        self.deaths = 0

    @rule(task=TASKS, count=st.integers(1, 5))
    def fail(self, task: str, count: int) -> None:
        for _ in range(count):
            task_id = f"t{len(self.laid)}"
            self.laid[task_id] = task
            self.broker.ready.append(refused(id=task_id, task=task))

    @precondition(lambda self: self.broker.sent)
    @rule(data=st.data())
    def fail_again(self, data: st.DataObject) -> None:
        self.broker.now += 1
        index = data.draw(st.integers(0, len(self.broker.sent) - 1))
        self.broker.ready.append(self.broker.die_again(self.broker.sent.pop(index)))

    @rule()
    def fail_all_again_and_replay(self) -> None:
        self.broker.now += 1
        self.broker.ready += [self.broker.die_again(message) for message in self.broker.sent]
        self.broker.sent.clear()
        self._work(Order(dead_letter_queue=DEAD, selection=Selection(), rate=1000.0))

    @rule(
        selection=SELECTIONS,
        limit=st.none() | st.integers(1, 3),
        rate=st.sampled_from([1.0, 20.0, 1000.0]),
        dry_run=st.booleans(),
    )
    def replay(self, selection: Selection, limit: int | None, rate: float, *, dry_run: bool) -> None:
        before, began = self._places(), self.broker.now
        sent, held = len(self.broker.sent), len(self.broker.ready)
        report = self._work(
            Order(dead_letter_queue=DEAD, selection=selection, rate=rate, limit=limit, dry_run=dry_run)
        )
        assert limit is None or report.done <= limit
        assert report.examined <= held
        moved = len(self.broker.sent) - sent
        assert moved == (0 if dry_run else report.done)
        assert len(self.broker.ready) == held - moved
        if dry_run:
            assert self._places() == before
        elif report.done > 1:
            # A whole batch may go at once, so the last one tells.
            assert self.broker.now - began >= (report.done - max(1, rate / 5)) / rate - 1e-6
        assert not any(
            message.headers["task"] == "fleet.send_mail"
            for message in self.broker.sent[sent:]
            if selection.task
        )

    @rule(selection=SELECTIONS, moves=st.integers(1, 12), dies_after=st.booleans())
    def replay_and_be_killed(self, selection: Selection, moves: int, *, dies_after: bool) -> None:
        self.broker.moves, self.broker.dies_after = moves, dies_after
        try:
            self._work(Order(dead_letter_queue=DEAD, selection=selection, rate=10.0))
        except Died:
            self.deaths += 1
        finally:
            self.broker.moves = None

    @rule(room=st.integers(0, 2))
    def replay_into_a_queue_that_fills_up(self, room: int) -> None:
        self.broker.room = room
        report = self._work(Order(dead_letter_queue=DEAD, selection=Selection(), rate=1000.0))
        assert report.done <= room
        self.broker.room = None

    @rule(moves=st.none() | st.integers(1, 6), dies_after=st.booleans())
    def discard(self, moves: int | None, *, dies_after: bool) -> None:
        self.broker.moves, self.broker.dies_after = moves, dies_after
        auditor = Auditor(door=self.broker, user="hands", host="desk", clock=self._clock)
        order = Order(dead_letter_queue=DEAD, selection=Selection(task="shop.*"), rate=1000.0)
        work = Work(
            order,
            Discard(auditor=auditor),
            NoHistory(),
            clock=self._clock,
            progress=lambda done: None,
            is_interrupted=lambda: False,
        )
        try:
            work.run(self.broker.look)
        except Died:
            self.deaths += 1
        finally:
            self.broker.moves = None

    def _work(self, order: Order) -> Report:
        auditor = Auditor(door=self.broker, user="hands", host="desk", clock=self._clock)
        treatment = Replay(rules=RULES, door=self.broker, auditor=auditor)
        work = Work(
            order,
            treatment,
            NoHistory(),
            clock=self._clock,
            progress=lambda done: None,
            is_interrupted=lambda: False,
        )
        return work.run(self.broker.look)

    def _clock(self) -> float:
        return self.broker.now

    def _places(self) -> Counter[str]:
        """Count where the messages of each task are: in the dead-letter queue or in the task's own."""
        here = Counter(str(letter.task_id) for letter in self.broker.ready)
        return here + Counter(message.message_id for message in self.broker.sent)

    def _noted(self, outcome: str) -> set[str]:
        return {note.task_id for note in self.broker.notes if note.outcome == outcome}

    @invariant()
    def every_message_is_somewhere_unless_it_was_noted_as_discarded(self) -> None:
        gone = self.laid.keys() - self._places().keys()
        assert gone <= self._noted("discarded")

    @invariant()
    def nothing_is_there_twice_unless_somebody_died(self) -> None:
        extra = sum(self._places().values()) - len(self._places())
        # A batch at a rate of 10 is two letters.
        assert extra <= 2 * self.deaths

    @invariant()
    def a_letter_leaves_with_a_note_and_a_copy_names_who_sent_it(self) -> None:
        lying = {letter.task_id for letter in self.broker.ready}
        noted = self._noted("replayed") | self._noted("discarded")
        assert self.laid.keys() <= lying | noted
        assert {message.headers["fleet_replayed_by"] for message in self.broker.sent} <= {"hands"}

    @invariant()
    def nothing_was_replayed_too_often(self) -> None:
        for message in self.broker.sent:
            replays = message.headers["fleet_replays"]
            assert isinstance(replays, int)
            assert 1 <= replays <= MAX_REPLAYS
        # Where somebody died, a copy and its letter may each be replayed as often.
        assert self.deaths or all(count <= MAX_REPLAYS for count in self.broker.taken.values())

    @invariant()
    def only_what_may_be_given_up_was(self) -> None:
        assert all(self.laid[task_id].startswith("shop.") for task_id in self._noted("discarded"))


TestLetters = Letters.TestCase
TestLetters.settings = settings(stateful_step_count=15)
