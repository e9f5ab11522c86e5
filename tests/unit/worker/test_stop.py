import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.worker.stop import SIGNALS, Asked, Stage, Stopping, stage_of

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


def asked(*numbers: int, at: float = 0.0) -> tuple[Asked, ...]:
    return tuple(Asked(number=number, at=at) for number in numbers)


@pytest.mark.parametrize(
    ("numbers", "stage"),
    [
        ((), Stage.RUN),
        ((TERM,), Stage.DRAIN),
        ((INT,), Stage.DRAIN),
        ((QUIT,), Stage.CUT),
        ((TERM, TERM), Stage.CUT),
        ((TERM, QUIT), Stage.CUT),
        ((INT, INT, INT), Stage.ABANDON),
        ((QUIT, TERM), Stage.ABANDON),
        ((TERM, TERM, TERM, TERM), Stage.ABANDON),
    ],
)
def test_each_signal_goes_one_stage_further_and_quit_at_least_to_the_cut(
    numbers: tuple[int, ...], stage: Stage
) -> None:
    assert stage_of(asked(*numbers), now=1, stop_seconds=60) is stage


def test_a_drain_is_cut_short_at_its_deadline() -> None:
    assert stage_of(asked(TERM, at=10), now=69.9, stop_seconds=60) is Stage.DRAIN
    assert stage_of(asked(TERM, at=10), now=70, stop_seconds=60) is Stage.CUT


def test_a_signal_after_the_deadline_ends_at_once() -> None:
    late = (*asked(TERM, at=10), *asked(TERM, at=80))
    assert stage_of(late, now=81, stop_seconds=60) is Stage.ABANDON


def test_without_a_stop_timeout_nothing_is_waited_for() -> None:
    assert stage_of(asked(TERM, at=10), now=10, stop_seconds=0) is Stage.CUT


@given(
    numbers=st.lists(st.sampled_from(SIGNALS), max_size=6),
    times=st.lists(st.floats(0, 1e6), min_size=8, max_size=8).map(sorted),
    stop_seconds=st.integers(0, 10_000),
)
def test_a_stage_never_goes_back(numbers: list[int], times: list[float], stop_seconds: int) -> None:
    requests = [Asked(number=number, at=at) for number, at in zip(numbers, times, strict=False)]
    stages = [
        stage_of([each for each in requests if each.at <= now], now=now, stop_seconds=stop_seconds)
        for now in times
    ]
    assert stages == sorted(stages)


def test_it_is_remembered_that_ctrl_c_began_it() -> None:
    stopping = Stopping(60, clock=lambda: 0.0)
    assert not stopping.is_interrupted
    stopping.ask(INT)
    stopping.ask(TERM)
    assert stopping.is_interrupted
    assert stopping.stage is Stage.CUT
