"""When does a stream write, wait, connect again or give up? Against a link that does what the test says."""

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from amqp.exceptions import AccessRefused, PreconditionFailed, RecoverableConnectionError

from fleet.connection import Target
from fleet.errors import BrokerRefused, BrokerUnreachable, PublishUncertain
from fleet.login import Login
from fleet.model import Broker, Node
from fleet.publish.fate import Fate, FateKind
from fleet.publish.message import WireMessage
from fleet.publish.stream import MOST_WRITES, SILENCE_SECONDS, Stream
from fleet.publish.window import Window
from tests.unit.publish.wires import wire

NODES = (Node(host="a.example", port=5672), Node(host="b.example", port=5672))
SECONDS = 15.0

A, R, U = FateKind.ACCEPTED, FateKind.REFUSED, FateKind.UNKNOWN


class ScriptedLink:
    """Confirms at each read what was written, unless the test has put something else into ``reads``."""

    def __init__(self, nodes: tuple[Node, ...] = NODES) -> None:
        self.target = Target(broker=Broker(nodes=nodes), login=Login(user="u", password=None), name="test")
        self.window = Window(most_messages=4)
        self.is_open = self.was_open = self.is_blocked = False
        self.heard = self.answered = self.now = 0.0
        #: what happens at the next reads and attempts to connect; exceptions are raised
        self.reads: list[Callable[[], None] | Exception] = []
        self.opens: Sequence[Exception] = []
        self.written: list[str] = []
        self.opened = 0
        self.stale = False
        self._tag = 0

    def open(self, *, timeout_seconds: float | None = None) -> None:
        assert timeout_seconds is not None
        assert timeout_seconds > 0
        if self.opens:
            first, *self.opens = self.opens
            raise first
        self.opened += 1
        self.is_open = self.was_open = True
        self._tag = 0
        self.heard = self.now

    def drop_if_stale(self) -> None:
        if self.stale:
            self.drop()

    def encode(self, message: WireMessage) -> None:
        if message.message_id == "too-long":
            raise struct.error("short text of more than 255 bytes")

    def write_next(self) -> bool:
        flight = self.window.next_to_write()
        if flight is None:
            return False
        self.written.append(flight.message.message_id)
        self.window.note_write()
        self._tag += 1
        return True

    def flush(self) -> None:
        pass

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        assert seconds > 0
        yield

    def read(self, timeout_seconds: float) -> None:
        if timeout_seconds == 0:
            return
        step = self.reads.pop(0) if self.reads else self.confirm_all
        if isinstance(step, Exception):
            raise step
        if step is silence:
            self.now += timeout_seconds
            return
        self.heard = self.now
        step()

    def drop(self, *, next_node: bool = False) -> None:
        del next_node
        self.is_open = self.is_blocked = False
        self.window.forget_connection()

    def confirm_all(self) -> None:
        self.window.confirm(self._tag, multiple=True)
        self.answered = self.now

    def confirm_first(self) -> None:
        self.window.confirm(self._tag - self.window.pending + 1, multiple=False)
        self.answered = self.now

    def block(self) -> None:
        self.is_blocked = True

    def unblock(self) -> None:
        self.is_blocked = False

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def silence() -> None:
    """Stand for a read that waits in vain."""


def stream(link: ScriptedLink, *, reconnects: bool = True, waits: bool = False) -> Stream:
    return Stream(
        link,  # type: ignore[arg-type]  # all that a stream uses of a link
        timeout_seconds=SECONDS,
        reconnects=reconnects,
        waits=waits,
        clock=lambda: link.now,
        sleep=link.sleep,
    )


def send(link: ScriptedLink, names: str, *, reconnects: bool = True) -> list[Fate]:
    return list(stream(link, reconnects=reconnects).fates(wire(name) for name in names))


def until_error(link: ScriptedLink, names: str) -> tuple[list[FateKind], Exception]:
    kinds: list[FateKind] = []
    try:
        for fate in stream(link).fates(wire(name) for name in names):
            kinds.append(fate.kind)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return kinds, error
    raise AssertionError("no error")


def test_no_more_is_taken_than_may_be_unconfirmed() -> None:
    link, taken = ScriptedLink(), []

    def messages() -> Iterator[WireMessage]:
        for name in "abcdefghij":
            taken.append(name)
            yield wire(name)

    fates = stream(link).fates(messages())
    assert next(fates).accepted
    assert taken == list("abcd")
    assert [fate.kind for fate in fates] == [A] * 9
    assert link.written == list("abcdefghij")


def test_what_has_no_answer_when_the_connection_goes_is_written_again() -> None:
    link = ScriptedLink()
    link.reads = [link.confirm_first, RecoverableConnectionError("gone")]
    fates = send(link, "abc")
    assert link.written == list("abcbc")
    assert [(fate.kind, fate.writes) for fate in fates] == [(A, 1), (A, 2), (A, 2)]
    assert [fate.may_be_queued_twice for fate in fates] == [False, True, True]


def test_a_broker_that_is_away_is_waited_for_when_it_was_there_before() -> None:
    link = ScriptedLink()
    link.was_open = True
    link.opens = [BrokerUnreachable("no broker node answered")] * 5
    assert [fate.kind for fate in send(link, "ab")] == [A, A]
    assert link.now > 0


def test_a_stale_connection_is_opened_anew_before_anything_is_written() -> None:
    link = ScriptedLink()
    send(link, "a")
    link.stale = True
    assert [fate.writes for fate in send(link, "b")] == [1]
    assert link.opened == 2


def test_what_was_taken_is_written_before_the_next_is_waited_for() -> None:
    link = ScriptedLink()
    seen: list[list[str]] = []

    def slow() -> Iterator[WireMessage]:
        for name in "abc":
            link.now += 5
            seen.append(list(link.written))
            yield wire(name)

    assert len(list(stream(link).fates(slow()))) == 3
    assert seen == [[], ["a"], ["a", "b"]]


def test_a_broker_that_never_answered_is_not_waited_for_and_nothing_is_taken() -> None:
    link = ScriptedLink()
    link.opens = [BrokerUnreachable("no broker node answered")]
    taken = iter([wire("a")])
    with pytest.raises(BrokerUnreachable) as caught:
        list(stream(link).fates(taken))
    assert type(caught.value) is BrokerUnreachable
    assert next(taken).message_id == "a"
    assert link.now == 0


def test_a_sender_that_waits_waits_for_the_first_connection_too_but_not_for_ever() -> None:
    link = ScriptedLink()
    link.opens = [BrokerUnreachable("away"), BrokerUnreachable("away")]
    fates = stream(link, waits=True).fates(wire(name) for name in "a")
    assert [fate.kind for fate in fates] == [A]
    assert link.now > 0

    link = ScriptedLink()
    link.opens = [BrokerUnreachable("away")] * 1000
    with pytest.raises(BrokerUnreachable, match="away"):
        list(stream(link, waits=True).fates(wire(name) for name in "a"))
    assert SECONDS <= link.now < SECONDS + 2
    assert not link.written


def test_a_broker_that_stays_away_leaves_the_written_unknown_and_the_others_unsent() -> None:
    link = ScriptedLink()
    link.is_open = link.was_open = True

    def lose_and_stay_away() -> None:
        link.opens = [BrokerUnreachable("no broker node answered")] * 99
        raise RecoverableConnectionError("gone")

    link.reads = [lose_and_stay_away]
    kinds, error = until_error(link, "abcdefgh")
    assert kinds == [U] * 4
    assert isinstance(error, PublishUncertain)
    assert "no broker node answered" in error.message
    assert SECONDS - 1 < link.now < SECONDS + 1


def test_a_broker_that_went_before_anything_was_written_leaves_nothing_unknown() -> None:
    link = ScriptedLink()
    link.was_open = True
    link.opens = [BrokerUnreachable("no broker node answered")] * 99
    kinds, error = until_error(link, "ab")
    assert kinds == []
    assert type(error) is BrokerUnreachable
    assert link.now <= SECONDS + 1


def test_a_message_that_ends_every_connection_is_given_up() -> None:
    link = ScriptedLink()
    link.reads = [RecoverableConnectionError("gone")] * 9
    kinds, error = until_error(link, "a")
    assert kinds == [U]
    assert link.written == ["a"] * MOST_WRITES
    assert isinstance(error, PublishUncertain)


def test_without_reconnecting_a_lost_connection_is_the_end() -> None:
    link = ScriptedLink()
    link.reads = [RecoverableConnectionError("gone")]
    with pytest.raises(PublishUncertain, match="before the broker's confirm came"):
        send(link, "ab", reconnects=False)
    assert link.opened == 1


def test_a_broker_that_confirms_nothing_is_given_up_in_time() -> None:
    link = ScriptedLink(nodes=NODES[:1])
    link.reads = [silence] * 9
    kinds, error = until_error(link, "ab")
    assert kinds == [U, U]
    assert isinstance(error, PublishUncertain)
    assert "did not confirm in time" in error.message
    assert link.now == SECONDS


def test_a_slow_broker_is_waited_for_as_long_as_it_answers_something() -> None:
    link = ScriptedLink(nodes=NODES[:1])
    link.reads = [step for _ in range(4) for step in (silence, silence, link.confirm_first)]
    assert [fate.kind for fate in send(link, "abcd")] == [A] * 4
    assert link.now > SECONDS


def test_of_several_nodes_one_that_hangs_is_left_for_the_next() -> None:
    link = ScriptedLink()
    link.reads = [silence]
    fates = send(link, "a")
    assert [(fate.kind, fate.writes) for fate in fates] == [(A, 2)]
    assert link.opened == 2
    assert SILENCE_SECONDS <= link.now < SECONDS


def test_an_only_node_that_is_silent_is_given_its_time() -> None:
    link = ScriptedLink(nodes=NODES[:1])
    link.reads = [silence]
    assert [fate.writes for fate in send(link, "a")] == [1]
    assert link.opened == 1


def test_an_alarm_that_passes_is_waited_for_and_nothing_is_written_meanwhile() -> None:
    link = ScriptedLink()
    link.reads = [link.block, silence, link.unblock]
    fates = send(link, "abcdef")
    assert [(fate.kind, fate.writes) for fate in fates] == [(A, 1)] * 6
    assert link.opened == 1


def test_an_alarm_that_stays_leaves_unknown_what_was_written_before_it_was_known() -> None:
    link = ScriptedLink()
    link.reads = [link.block, link.confirm_first, *[silence] * 9]
    kinds, error = until_error(link, "abcdef")
    assert kinds == [A, U, U, U]
    assert isinstance(error, PublishUncertain)
    assert "memory or disk alarm" in error.message
    assert "alarms" in str(error.hint)
    assert link.written == list("abcd")


def test_under_an_alarm_that_is_known_nothing_is_written_and_nothing_unknown() -> None:
    link = ScriptedLink()
    link.open(timeout_seconds=1)
    link.block()
    link.reads = [silence] * 9
    kinds, error = until_error(link, "ab")
    assert kinds == []
    assert type(error) is BrokerUnreachable
    assert link.written == []
    assert link.now <= SECONDS + 1


def test_an_error_of_the_messages_comes_after_the_fates_of_what_was_taken() -> None:
    link = ScriptedLink()

    def messages() -> Iterator[WireMessage]:
        yield wire("a")
        raise KeyError("row 2")

    fates = stream(link).fates(messages())
    assert next(fates).accepted
    with pytest.raises(KeyError, match="row 2"):
        next(fates)


def test_a_message_that_cannot_be_written_spoils_none_of_the_others() -> None:
    link = ScriptedLink()
    fates = stream(link).fates(wire(name) for name in ("a", "too-long", "b"))
    assert next(fates).accepted
    with pytest.raises(struct.error):
        next(fates)
    assert [fate.kind for fate in send(link, "c")] == [A]
    assert link.written == ["a", "c"]


def test_the_message_that_made_the_broker_close_the_channel_is_found() -> None:
    link = ScriptedLink()
    link.reads = [AccessRefused("ACCESS_REFUSED - access to topic"), link.confirm_all]

    def refuse_second() -> None:
        raise AccessRefused("ACCESS_REFUSED - access to topic")

    link.reads.append(refuse_second)
    kinds, error = until_error(link, "abc")
    assert link.written == list("abcab")
    assert kinds == [A, R, U]
    assert type(error) is BrokerRefused
    assert "access to topic" in error.message


def test_it_is_found_by_a_sender_who_does_not_connect_again_after_a_loss_too() -> None:
    link = ScriptedLink()
    link.reads = [AccessRefused("ACCESS_REFUSED - access to topic"), link.confirm_all, link.confirm_all]
    assert [fate.kind for fate in send(link, "ab", reconnects=False)] == [A, A]
    assert link.written == list("abab")


def test_a_message_beyond_the_brokers_limit_is_no_matter_of_provisioning() -> None:
    link = ScriptedLink()

    def refuse() -> None:
        raise PreconditionFailed("PRECONDITION_FAILED - message size 9 is larger than configured max size 8")

    link.reads.append(refuse)
    _, error = until_error(link, "a")
    assert isinstance(error, BrokerRefused)
    assert "max_message_size" in str(error.hint)


def test_a_login_that_is_refused_after_a_loss_leaves_the_written_unknown() -> None:
    link = ScriptedLink()

    def lose_and_be_refused() -> None:
        link.opens = [BrokerRefused("mq1 refused vhost")]
        raise RecoverableConnectionError("gone")

    link.reads = [lose_and_be_refused]
    kinds, error = until_error(link, "a")
    assert kinds == [U]
    assert isinstance(error, PublishUncertain)
    assert "gone; then: mq1 refused vhost" in error.message


@pytest.mark.parametrize("leave", ["close", "interrupt"])
def test_what_is_left_in_the_middle_does_not_mix_with_what_comes_next(leave: str) -> None:
    link = ScriptedLink()
    link.reads = [link.confirm_first]
    fates = stream(link).fates(wire(name) for name in "abcd")
    next(fates)
    if leave == "close":
        fates.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            fates.throw(KeyboardInterrupt())
    assert not link.is_open
    assert link.window.oldest is None


def test_what_is_left_in_the_middle_and_not_yet_ended_does_not_mix_with_what_comes_next() -> None:
    link = ScriptedLink()
    left = stream(link).fates(wire(name) for name in "abc")
    next(left)
    following = stream(link).fates(wire(name) for name in "yz")
    # Its end, whenever it comes, is not that of the next one.
    assert next(following).accepted
    left.close()
    assert link.is_open
    assert [fate.kind for fate in following] == [A]
    assert link.written == list("abcyz")


def test_time_that_the_caller_keeps_for_itself_does_not_make_messages_unknown() -> None:
    link = ScriptedLink()
    link.reads = [link.confirm_first]
    fates = stream(link).fates(wire(name) for name in "abcd")
    next(fates)
    link.now += 60
    assert [fate.kind for fate in fates] == [A] * 3
