from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.worker.watchdog import Ask, Fine, Judgement, Sight, Stuck, Watchdog

LIMIT = 300.0
IDLE = Sight(
    now=0, connected=True, loop_age_seconds=0.5, progress=1, running=0, reserved=0, waits=False
)  # fmt: skip


def look(watchdog: Watchdog, *, until: float, ready: int | None = 0, sight: Sight = IDLE) -> list[str]:
    """Look once a second up to ``until``; return when it asked, and where it was found stuck, the reason."""
    told = []
    for now in range(int(until) + 1):
        match watchdog.judge(replace(sight, now=float(now))):
            case Ask():
                told.append(f"ask {now}")
                watchdog.answered(ready, now=float(now))
            case Stuck(reason=reason):
                return [*told, reason]
    return told


def test_an_idle_worker_asks_once_in_each_limit_and_is_fine() -> None:
    assert look(Watchdog(LIMIT), until=1000) == ["ask 300", "ask 600", "ask 900"]


def test_messages_that_are_ready_twice_while_none_comes_mean_that_it_is_stuck() -> None:
    expected = ["ask 300", "ask 330", "7 messages are ready and none has come for 331 s"]
    assert look(Watchdog(LIMIT), until=1000, ready=7) == expected


def test_a_broker_that_does_not_answer_proves_nothing() -> None:
    assert look(Watchdog(LIMIT), until=700, ready=None) == ["ask 300", "ask 600"]


def test_messages_that_are_held_while_none_starts_mean_that_it_is_stuck() -> None:
    held = replace(IDLE, reserved=3)
    expected = ["3 messages are held and none has started for 300 s"]
    assert look(Watchdog(LIMIT), until=1000, sight=held) == expected


@pytest.mark.parametrize("busy", [replace(IDLE, running=1, reserved=4), replace(IDLE, waits=True)])
def test_whoever_runs_a_task_or_waits_on_purpose_is_neither_stuck_nor_asks(busy: Sight) -> None:
    assert look(Watchdog(LIMIT), until=10_000, ready=7, sight=busy) == []


def test_progress_between_two_looks_clears_the_suspicion() -> None:
    watchdog = Watchdog(LIMIT)
    for now in (0.0, 300.0):
        if watchdog.judge(replace(IDLE, now=now)) == Ask():
            watchdog.answered(7, now=now)
    assert watchdog.judge(replace(IDLE, now=310.0, progress=2)) == Fine()
    assert watchdog.judge(replace(IDLE, now=600.0, progress=2)) == Fine()


def test_an_event_loop_that_does_not_turn_is_stuck_even_while_tasks_run() -> None:
    blocked = replace(IDLE, running=1, loop_age_seconds=301.0)
    assert isinstance(Watchdog(LIMIT).judge(blocked), Stuck)


@pytest.mark.parametrize(
    "sight",
    [replace(IDLE, loop_age_seconds=9e9, connected=False), replace(IDLE, loop_age_seconds=None)],
    ids=["waiting for the broker", "running a task in the loop's place"],
)
def test_an_event_loop_that_need_not_turn_is_fine(sight: Sight) -> None:
    assert Watchdog(LIMIT).judge(sight) == Fine()


@given(
    st.lists(
        st.tuples(st.floats(0.1, 200), st.booleans(), st.integers(0, 2), st.sampled_from([None, 0, 5])),
        max_size=60,
    )
)
def test_it_never_ends_a_worker_that_got_on_within_the_limit_nor_asks_more_often(
    steps: list[tuple[float, bool, int, int | None]],
) -> None:
    watchdog, now, progress, moved = Watchdog(LIMIT), 0.0, 1, 0.0
    watchdog.judge(IDLE)
    asked: list[float] = []
    for pause, gets_on, running, ready in steps:
        now += pause
        progress += gets_on
        moved = now if gets_on or running else moved
        verdict: Judgement = watchdog.judge(replace(IDLE, now=now, progress=progress, running=running))
        if isinstance(verdict, Stuck):
            assert now - moved >= LIMIT
            return
        if isinstance(verdict, Ask):
            assert now - moved >= LIMIT
            asked.append(now)
            watchdog.answered(ready, now=now)
    # Twice in a limit at most: the second look after a suspicion.
    assert all(later - first >= LIMIT * 0.99 for first, later in zip(asked, asked[2:], strict=False))
