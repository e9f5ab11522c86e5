"""Whether a task goes to the broker or to the outbox, one case after the other."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fleet.errors import (
    BrokerRefused,
    BrokerUnreachable,
    OutboxBusy,
    OutboxFull,
    PublishUncertain,
    UsageError,
)
from fleet.outbox import Outbox, Volume, forward
from fleet.outbox.sending import FORWARD_SECONDS, RETRY_SECONDS, Fate, OutboxSender, Place
from tests.integration.outbox.broker import EMAIL, SHOP, Fault, Killed, ToldBroker, task

BROKER, OUTBOX = Place.BROKER, Place.OUTBOX


class Bench:
    """A sender with its outbox, its broker and a clock that stands still."""

    def __init__(self, directory: Path) -> None:
        self.outbox = Outbox(directory / "box" / "outbox.sqlite3", fleet="test")
        self.broker = ToldBroker()
        self.now = 1000.0
        self.sender = OutboxSender(
            self.outbox, lambda: self.broker, clock=lambda: self.now, monotonic=lambda: self.now
        )

    def send(self, *names: str, queue: object = EMAIL, **fields: object) -> tuple[Fate, ...]:
        return self.sender.deliver([task(task_id=name, queue=queue, **fields) for name in names])

    def kept(self) -> list[str]:
        return [kept.message.task_id for kept in self.outbox.tasks()]

    def at_broker(self) -> list[str]:
        return [one for ids in self.broker.queues.values() for one in ids]

    def come_back(self) -> None:
        """The broker is up again, and the time for another try has come."""
        self.broker.is_up = True
        self.now += RETRY_SECONDS


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_broker_that_answers_needs_no_outbox(bench: Bench) -> None:
    assert bench.send("a", "b") == (BROKER, BROKER)
    assert not bench.outbox.path.exists()


def test_without_a_broker_a_task_is_kept(bench: Bench) -> None:
    bench.broker.is_up = False
    assert bench.send("a") == (OUTBOX,)
    assert bench.kept() == ["a"]


def test_a_broker_that_is_away_is_not_asked_again_for_each_task(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a", "b")
    bench.send("c", queue=SHOP)
    assert (bench.kept(), bench.broker.opened) == (["a", "b", "c"], 1)
    bench.now += RETRY_SECONDS
    bench.send("d")
    assert bench.broker.opened == 2


def test_the_next_task_after_the_broker_is_back_takes_the_older_ones_along(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a", "b")
    bench.come_back()
    assert bench.send("c") == (BROKER,)
    assert bench.at_broker() == ["a", "b", "c"]
    assert bench.kept() == []


def test_a_task_whose_fate_is_unknown_goes_again_under_its_id(bench: Bench) -> None:
    bench.broker.fault = Fault.LOST_AFTER
    assert bench.send("a", "b") == (OUTBOX, OUTBOX)
    bench.come_back()
    bench.send("c")
    assert bench.at_broker() == ["a", "a", "b", "c"]


def test_what_the_broker_refuses_is_refused_and_not_kept(bench: Bench) -> None:
    bench.broker.refusing = {EMAIL.name}
    (fate,) = bench.send("a")
    assert isinstance(fate, BrokerRefused)
    assert bench.kept() == []


def test_a_new_task_waits_behind_one_that_the_broker_refuses_now(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a")
    bench.come_back()
    bench.broker.refusing = {EMAIL.name}
    assert bench.send("b") == (OUTBOX,)
    assert bench.send("x", queue=SHOP) == (BROKER,)
    # The queue takes messages again, but it is not time yet for another try.
    bench.broker.refusing = set()
    assert bench.send("c") == (OUTBOX,)
    bench.now += RETRY_SECONDS
    assert bench.send("d") == (BROKER,)
    assert bench.broker.queues[EMAIL.name] == ["a", "b", "c", "d"]


def test_a_new_task_waits_while_another_process_forwards(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a")
    bench.come_back()
    with bench.outbox.forwarding():
        assert bench.send("b") == (OUTBOX,)
        assert bench.send("x", queue=SHOP) == (BROKER,)
    assert bench.send("c") == (BROKER,)
    assert bench.broker.queues[EMAIL.name] == ["a", "b", "c"]


def test_a_sender_spends_little_time_on_what_others_left(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a", "b", "c")
    bench.come_back()
    send = bench.broker.send

    def slowly(message: object) -> None:
        bench.now += FORWARD_SECONDS
        send(message)  # type: ignore[arg-type]

    bench.broker.send = slowly  # type: ignore[method-assign]
    assert bench.send("d") == (OUTBOX,)
    assert (bench.at_broker(), bench.kept()) == (["a"], ["b", "c", "d"])


def test_a_delay_counts_from_the_first_sending(bench: Bench) -> None:
    bench.broker.is_up = False
    bench.send("a", delay_seconds=60)
    bench.send("b", delay_seconds=3600)
    bench.now += 100
    bench.broker.is_up = True
    forward(bench.outbox, bench.broker, clock=lambda: bench.now)
    assert bench.broker.delays == [0, 3500]


def test_a_full_outbox_says_so_and_why_it_was_needed(bench: Bench) -> None:
    bench.outbox.set_limits(Volume(messages=1, bytes=10**6))
    bench.broker.is_up = False
    assert bench.send("a") == (OUTBOX,)
    (fate,) = bench.send("b")
    assert isinstance(fate, OutboxFull)
    assert fate.message.startswith("no broker node answered; outbox")
    assert bench.kept() == ["a"]


def test_a_full_outbox_empties_itself_when_the_broker_is_back(bench: Bench) -> None:
    bench.outbox.set_limits(Volume(messages=1, bytes=10**6))
    bench.broker.is_up = False
    bench.send("a")
    bench.come_back()
    assert bench.send("b") == (BROKER,)


def test_only_the_task_that_may_be_queued_is_called_uncertain(bench: Bench) -> None:
    bench.outbox.set_limits(Volume(messages=1, bytes=10**6))
    bench.outbox.keep([task(queue=SHOP)], now=0)
    bench.broker.refusing = {SHOP.name}
    bench.send("x")
    bench.broker.fault = Fault.LOST_AFTER
    first, second = bench.send("a", "b")
    assert isinstance(first, PublishUncertain)
    assert "the connection went" in first.message
    assert isinstance(second, OutboxFull)


def test_what_could_never_be_published_is_refused_before_anything_is_sent(bench: Bench) -> None:
    good, bad = task(), task(kwargs={"x": object()})
    with pytest.raises(UsageError, match="are no JSON"):
        bench.sender.deliver([good, bad])
    assert (bench.at_broker(), bench.kept()) == ([], [])


def test_forwarding_goes_on_with_the_other_queues(bench: Bench) -> None:
    keep(bench, [("a", EMAIL), ("x", SHOP), ("b", EMAIL), ("y", SHOP)])
    bench.broker.refusing = {EMAIL.name}
    done = forward(bench.outbox, bench.broker)
    assert (done.delivered, done.left, [held.task_id for held in done.held]) == (2, 2, ["a"])
    assert bench.outbox.backlog().queues[0].refusal == "queue `fleet.email` is full"
    bench.broker.refusing = set()
    assert forward(bench.outbox, bench.broker).delivered == 2
    assert bench.broker.queues == {EMAIL.name: ["a", "b"], SHOP.name: ["x", "y"]}


def test_forwarding_stops_with_the_broker_and_goes_on_later(bench: Bench) -> None:
    keep(bench, [("a", EMAIL), ("b", EMAIL)])
    bench.broker.fault = Fault.LOST_BEFORE
    done = forward(bench.outbox, bench.broker)
    assert isinstance(done.stopped, BrokerUnreachable)
    assert "while task a (number 1) was sent" in done.stopped.message
    assert (done.delivered, done.left) == (0, 2)
    assert forward(bench.outbox, bench.broker).delivered == 2


def test_a_forwarder_that_dies_after_a_publish_publishes_it_again(bench: Bench) -> None:
    keep(bench, [("a", EMAIL), ("b", EMAIL)])
    bench.broker.fault = Fault.KILLED_AFTER
    with pytest.raises(Killed):
        forward(bench.outbox, bench.broker)
    forward(bench.outbox, bench.broker)
    assert bench.at_broker() == ["a", "a", "b"]


def test_an_empty_outbox_needs_no_broker(bench: Bench) -> None:
    bench.broker.is_up = False
    assert forward(bench.outbox, bench.broker).delivered == 0
    assert bench.broker.opened == 0


def test_two_forwarders_do_not_meet(bench: Bench) -> None:
    keep(bench, [("a", EMAIL)])
    with bench.outbox.forwarding(), pytest.raises(OutboxBusy):
        forward(bench.outbox, bench.broker)


def keep(bench: Bench, tasks: Sequence[tuple[str, object]]) -> None:
    bench.outbox.keep([task(task_id=name, queue=queue) for name, queue in tasks], now=0)
