"""Does the window tell the truth, whatever the broker and the network do? A model plays both."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleet.publish.fate import Fate, FateKind
from fleet.publish.window import Window
from tests.unit.publish.wires import wire

MOST = 6


class WindowMachine(RuleBasedStateMachine):
    """Adds, writes, answers and loses connections at random, and keeps a plain record of all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(most_messages=MOST, most_bytes=20)
        self.added: list[str] = []
        self.reported: list[Fate] = []
        #: what each message must be reported as, by its number, once that is known
        self.expected: dict[int, FateKind] = {}
        self.writes: dict[int, int] = {}
        #: numbers by tag on this connection, in order; returned ones
        self.tags: deque[tuple[int, int]] = deque()
        self.returned: set[int] = set()
        self.to_write: deque[int] = deque()
        self.tag = 0

    @rule(name=st.sampled_from("abcdefgh"), size=st.integers(0, 9))
    def add(self, name: str, size: int) -> None:
        if self.window.has_room:
            self.to_write.append(len(self.added))
            self.writes[len(self.added)] = 0
            self.added.append(name)
            self.window.add(wire(name, size=size), None, now=0)

    @rule()
    def write(self) -> None:
        if self.window.next_to_write() is None:
            return
        number = self.to_write.popleft()
        assert self.window.next_to_write().message.message_id == self.added[number]  # type: ignore[union-attr]
        self.tag += 1
        self.tags.append((self.tag, number))
        self.writes[number] += 1
        self.window.note_write()

    @precondition(lambda self: self.tags)
    @rule(data=st.data())
    def send_back(self, data: st.DataObject) -> None:
        _, number = data.draw(st.sampled_from(list(self.tags)))
        self.returned.add(number)
        self.window.note_return(self.added[number], "312 NO_ROUTE")

    @precondition(lambda self: self.tags)
    @rule(data=st.data(), multiple=st.booleans(), is_taken=st.booleans())
    def answer(self, *, data: st.DataObject, multiple: bool, is_taken: bool) -> None:
        tag, _ = data.draw(st.sampled_from(list(self.tags)))
        settled = [pair for pair in self.tags if pair[0] == tag or (multiple and pair[0] < tag)]
        tell = self.window.confirm if is_taken else self.window.reject
        assert tell(tag, multiple=multiple) == len(settled)
        for pair in settled:
            self.tags.remove(pair)
            self.expected[pair[1]] = self.meaning(pair[1], is_taken=is_taken)

    def meaning(self, number: int, *, is_taken: bool) -> FateKind:
        is_returned = number in self.returned
        if is_taken and not is_returned:
            return FateKind.ACCEPTED
        if self.writes[number] > 1:
            return FateKind.UNKNOWN
        return FateKind.UNROUTABLE if is_returned else FateKind.REFUSED

    @rule(tag=st.integers(100_000, 100_009))
    def answer_to_nothing(self, tag: int) -> None:
        assert self.window.confirm(tag, multiple=False) == 0

    @rule(is_closed=st.booleans())
    def lose_the_connection(self, *, is_closed: bool = False) -> None:
        self.to_write.extendleft(reversed([number for _, number in self.tags]))
        # What a return said is still true of the binding, but not of the copy that is written next.
        self.returned.difference_update(number for _, number in self.tags)
        self.tags.clear()
        self.tag = 0
        if is_closed:
            self.window.forget_channel()
        self.window.forget_connection()

    @rule()
    def give_up(self) -> None:
        self.lose_the_connection()
        unknown = self.window.give_up("gone")
        assert unknown == sum(self.writes[number] > 0 for number in self.to_write)
        for number in self.to_write:
            self.expected[number] = FateKind.UNKNOWN if self.writes[number] else FateKind.UNSENT
        self.to_write.clear()

    @rule()
    def report(self) -> None:
        self.reported.extend(self.window.settled())

    @invariant()
    def what_was_reported_is_true_and_in_order(self) -> None:
        for number, fate in enumerate(self.reported):
            assert fate.kind is self.expected[number]
            assert fate.writes == self.writes[number]

    @invariant()
    def nothing_is_held_back_and_the_window_is_bounded(self) -> None:
        waiting = len(self.added) - len(self.reported)
        assert waiting <= MOST
        first = len(self.reported)
        oldest = self.window.oldest
        open_ones = [number for number in range(first, len(self.added)) if number not in self.expected]
        assert (oldest is None) == (not open_ones)
        if oldest is not None:
            assert oldest.message.message_id == self.added[open_ones[0]]
        assert self.window.pending == len(self.tags)


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(stateful_step_count=30)


def test_a_message_larger_than_the_window_passes_alone() -> None:
    window = Window(most_bytes=10)
    assert window.has_room
    window.add(wire("a", size=50), None, now=0)
    assert not window.has_room
    window.note_write()
    window.confirm(1, multiple=False)
    assert [fate.kind for fate in window.settled()] == [FateKind.ACCEPTED]
    assert window.has_room


def test_of_two_messages_with_one_id_the_second_waits_for_the_answer_to_the_first() -> None:
    window = Window()
    for _ in range(2):
        window.add(wire("same"), None, now=0)
    window.note_write()
    assert window.next_to_write() is None
    window.note_return("same", "312 NO_ROUTE")
    window.confirm(1, multiple=False)
    assert window.next_to_write() is not None
    window.note_write()
    window.confirm(2, multiple=False)
    assert [fate.kind for fate in window.settled()] == [FateKind.UNROUTABLE, FateKind.ACCEPTED]


def test_what_was_sent_back_before_a_connection_was_lost_is_judged_anew() -> None:
    window = Window()
    window.add(wire("a"), None, now=0)
    window.note_write()
    window.note_return("a", "312 NO_ROUTE")
    window.forget_connection()
    window.note_write()
    window.confirm(1, multiple=False)
    assert [(fate.kind, fate.writes) for fate in window.settled()] == [(FateKind.ACCEPTED, 2)]


@pytest.mark.parametrize("is_returned", [False, True])
def test_a_refusal_of_what_is_written_again_does_not_say_that_no_copy_is_queued(*, is_returned: bool) -> None:
    window = Window()
    window.add(wire("a"), None, now=0)
    window.note_write()
    window.forget_channel()
    window.note_write()
    if is_returned:
        window.note_return("a", "312 NO_ROUTE")
        window.confirm(1, multiple=False)
    else:
        window.reject(1, multiple=False)
    ((kind, reason),) = [(fate.kind, fate.reason) for fate in window.settled()]
    assert kind is FateKind.UNKNOWN
    assert reason.startswith("refused when it was written again: ")


@pytest.mark.parametrize(("is_lost", "kind"), [(False, FateKind.REFUSED), (True, FateKind.UNKNOWN)])
def test_what_closes_a_channel_twice_is_in_no_queue_unless_a_connection_was_lost(
    *, is_lost: bool, kind: FateKind
) -> None:
    window = Window()
    window.add(wire("a"), None, now=0)
    window.note_write()
    window.forget_channel()
    window.note_write()
    if is_lost:
        window.forget_connection()
        window.note_write()
    assert window.refuse_pending("no exchange") is not is_lost
    assert [(fate.kind, fate.closed_channel) for fate in window.settled()] == [(kind, not is_lost)]


def test_a_queue_that_is_gone_when_a_message_is_to_be_written_again_may_have_had_it() -> None:
    window = Window()
    window.add(wire("a"), None, now=0)
    window.note_write()
    window.forget_connection()
    window.refuse_next("404 NOT_FOUND", kind=FateKind.UNROUTABLE)
    assert [fate.kind for fate in window.settled()] == [FateKind.UNKNOWN]


def test_a_cleared_window_knows_nothing_of_what_was_under_way() -> None:
    window = Window(most_messages=2)
    for name in "ab":
        window.add(wire(name, size=5), None, now=0)
    window.note_write()
    window.clear()
    assert window.oldest is None
    assert window.pending == 0
    window.add(wire("a", size=5), None, now=0)
    window.note_write()
    assert window.confirm(1, multiple=False) == 1
    assert [fate.kind for fate in window.settled()] == [FateKind.ACCEPTED]
