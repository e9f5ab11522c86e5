from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.worker.acks import Deliveries


class WorkerAndBroker(RuleBasedStateMachine):
    """A worker's deliveries, and a broker that believes every acknowledgement it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = Deliveries()
        self.last_tag = 0
        self.unacknowledged: set[int] = set()
        self.open: set[int] = set()

    @rule()
    def one_comes(self) -> None:
        self.last_tag += 1
        self.unacknowledged.add(self.last_tag)
        self.open.add(self.last_tag)
        self.deliveries.came(self.last_tag)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def one_ends(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.open)))
        self.open.remove(tag)
        assert self.deliveries.end(tag)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def one_is_rejected(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(sorted(self.open)))
        self.open.remove(tag)
        self.unacknowledged.remove(tag)
        self.deliveries.forget(tag)

    @rule()
    def the_loop_turns(self) -> None:
        for tag, with_all_before in self.deliveries.untold():
            # A broker closes the channel for a tag that it does not wait to hear of.
            assert tag in self.unacknowledged
            meant = {each for each in self.unacknowledged if each <= tag} if with_all_before else {tag}
            self.unacknowledged -= meant
        assert self.unacknowledged == self.open

    @invariant()
    def nothing_that_is_open_is_acknowledged(self) -> None:
        assert self.open <= self.unacknowledged


TestWorkerAndBroker = WorkerAndBroker.TestCase


@given(number=st.integers(2, 50))
def test_what_ended_in_one_turn_is_acknowledged_at_once_where_nothing_before_it_is_open(number: int) -> None:
    deliveries = Deliveries()
    for tag in range(1, number + 1):
        deliveries.came(tag)
    for tag in range(number, 0, -1):
        deliveries.end(tag)
    assert list(deliveries.untold()) == [(number, True)]
    assert list(deliveries.untold()) == []


def test_what_ended_behind_one_that_is_open_is_acknowledged_alone() -> None:
    deliveries = Deliveries()
    for tag in range(1, 7):
        deliveries.came(tag)
    for tag in (1, 2, 4, 6):
        deliveries.end(tag)
    assert list(deliveries.untold()) == [(2, True), (4, False), (6, False)]
    deliveries.end(3)
    deliveries.end(5)
    assert list(deliveries.untold()) == [(5, True)]


def test_a_delivery_that_it_has_not_seen_is_not_its_to_tell() -> None:
    assert not Deliveries().end(7)
