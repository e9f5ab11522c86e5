"""What the broker's own limits ask of a long replay, and what an operator's limits do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from fleet.journal.record import Outcome
from fleet.letters.letter import Letter
from fleet.letters.select import Selection
from fleet.ops.letters.act import PASS_SECONDS, Order, Report, Work
from fleet.ops.letters.treat import Auditor, Replay
from tests.unit.letters.broker_model import BrokerModel, LookModel
from tests.unit.letters.samples import DEAD, RULES, refused

ORDER = Order(dead_letter_queue=DEAD, selection=Selection(), rate=1.0)


class Knows:
    """A journal that knows how some tasks ended, and takes its time."""

    def __init__(self, broker: BrokerModel, *errors: tuple[str, str], seconds: float = 0.0) -> None:
        self._broker, self._errors, self._seconds = broker, dict(errors), seconds

    def last(self, letters: Sequence[Letter]) -> Mapping[str, Outcome]:
        self._broker.now += self._seconds
        return {
            str(letter.task_id): Outcome(
                task_id=str(letter.task_id),
                task="t",
                queue="q",
                host="alpha",
                worker="w",
                outcome="failed",
                started=1.0,
                finished=2.0,
                runtime_seconds=1.0,
                wait_seconds=None,
                error=self._errors[str(letter.task_id)],
            )
            for letter in letters
            if letter.task_id in self._errors
        }


def holding(count: int) -> BrokerModel:
    broker = BrokerModel(dead_letter_queue=DEAD)
    broker.ready = [refused(id=f"t{number}") for number in range(count)]
    return broker


def work(
    broker: BrokerModel,
    order: Order = ORDER,
    *,
    history: Knows | None = None,
    look: Callable[[], LookModel] | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> Report:
    auditor = Auditor(door=broker, user="hands", host="desk", clock=lambda: broker.now)
    return Work(
        order,
        Replay(rules=RULES, door=broker, auditor=auditor),
        history or Knows(broker),
        clock=lambda: broker.now,
        progress=lambda done: None,
        is_interrupted=is_interrupted,
    ).run(look or broker.look)


def test_letters_are_put_back_and_taken_again_before_the_broker_loses_patience() -> None:
    broker, passes = holding(1500), []

    def look() -> LookModel:
        passes.append(broker.now)
        return broker.look()

    report = work(broker, look=look)
    assert (report.done, report.stopped, len(broker.sent)) == (1500, None, 1500)
    assert len(passes) == 3
    assert all(later - earlier <= PASS_SECONDS + 2 for earlier, later in pairwise(passes))


def test_a_replay_that_takes_several_passes_takes_no_more_than_lay_there_at_first() -> None:
    broker = holding(700)

    def look() -> LookModel:
        # Others die meanwhile.
        if broker.sent:
            broker.ready += [refused(id=f"later-{number}") for number in range(50)]
        return broker.look()

    assert work(broker, look=look).done == 700


def test_looking_for_nothing_ends_and_says_so() -> None:
    broker = holding(1200)
    order = replace(ORDER, selection=Selection(exception="KeyError"))
    report = work(broker, order, history=Knows(broker, seconds=PASS_SECONDS))
    assert (report.done, report.stopped) == (
        0,
        "looking took too long for nothing; ask for less, such as one queue",
    )
    assert len(broker.ready) == 1200


def test_only_letters_that_ended_by_the_named_error_are_meant() -> None:
    broker = holding(3)
    order = replace(ORDER, selection=Selection(exception="Key*"))
    report = work(broker, order, history=Knows(broker, ("t0", "ValueError"), ("t2", "KeyError")))
    assert (report.done, [message.message_id for message in broker.sent]) == (1, ["t2"])


def test_the_rate_is_kept_even_where_one_letter_takes_longer_than_a_look_at_the_clock() -> None:
    broker = holding(4)
    began = broker.now
    work(broker, replace(ORDER, rate=0.1))
    assert broker.now - began >= 30


def test_time_that_went_into_looking_is_not_made_up_for_by_a_burst() -> None:
    broker = holding(200)
    began = broker.now
    order = replace(ORDER, rate=10.0, selection=Selection(exception="*"))
    errors = [(f"t{number}", "KeyError") for number in range(200)]
    assert work(broker, order, history=Knows(broker, *errors, seconds=100.0)).done == 200
    assert broker.now - began >= 100 + 198 / 10 - 1e-6


def test_a_letter_that_the_broker_closes_the_channel_over_keeps_no_other_from_being_noted() -> None:
    broker = holding(2)
    large = replace(refused(id="large"), body=b"x" * 5000)
    broker.ready += [large, refused(id="behind")]
    broker.most_bytes = 4000
    report = work(broker, replace(ORDER, rate=1000.0))
    assert (report.done, report.stopped) == (2, "fleet.email: closed (letter large)")
    assert [note.task_id for note in broker.notes] == ["t0", "t1"]
    assert {letter.task_id for letter in broker.ready} == {"large", "behind"}


def test_a_letter_that_the_channel_is_closed_over_is_named_though_it_goes_alone() -> None:
    broker = holding(2)
    broker.ready += [replace(refused(id="large"), body=b"x" * 5000), refused(id="behind")]
    broker.most_bytes = 4000
    report = work(broker, replace(ORDER, rate=1.0))
    assert (report.done, report.stopped) == (2, "fleet.email: the broker refused: closed (letter large)")
    assert {letter.task_id for letter in broker.ready} == {"large", "behind"}


def test_an_interruption_ends_the_work_before_the_next_batch() -> None:
    broker = holding(10)
    report = work(broker, is_interrupted=lambda: len(broker.sent) >= 3)
    assert (report.done, len(broker.sent), len(broker.ready)) == (3, 3, 7)
