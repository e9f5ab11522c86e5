from types import SimpleNamespace
from typing import Any

from fleet.worker.health import WorkerHealth
from tests.unit.worker.fleets import context


def consumer(*, tick: float | None, queues: tuple[str, ...], connected: bool = True) -> Any:
    return SimpleNamespace(
        loop_tick=tick,
        connection=SimpleNamespace(connected=connected),
        task_consumer=SimpleNamespace(_active_tags=dict.fromkeys(queues, "tag")),
        pool=SimpleNamespace(num_processes=2),
        qos=SimpleNamespace(value=8),
        restart_count=1,
    )


def health(*, now: float = 100.0, **state: Any) -> WorkerHealth:
    made = WorkerHealth(context(), clock=lambda: now)
    if state:
        made.watch(consumer(**state))
    return made


BOTH = ("fleet.email", "fleet.shop")


def test_a_worker_that_is_still_starting_lives_but_is_not_ready() -> None:
    starting = health()
    assert starting.alive()[0]
    assert not starting.ready()[0]


def test_a_worker_that_consumes_all_its_queues_is_ready() -> None:
    assert health(tick=99.0, queues=BOTH).ready()[0]


def test_a_worker_that_misses_a_queue_is_not_ready_and_says_which() -> None:
    is_ready, facts = health(tick=99.0, queues=("fleet.email",)).ready()
    assert not is_ready
    assert facts["missing"] == ["fleet.shop"]


def test_a_worker_that_is_told_to_stop_is_not_ready() -> None:
    draining = health(tick=99.0, queues=BOTH)
    draining.draining = True
    assert not draining.ready()[0]


def test_an_event_loop_that_does_not_turn_is_dead() -> None:
    assert health(tick=99.0, queues=BOTH).alive()[0]
    assert not health(tick=10.0, queues=BOTH).alive()[0]


def test_a_worker_that_waits_for_the_broker_lives() -> None:
    assert health(tick=10.0, queues=(), connected=False).alive()[0]


def test_a_snapshot_says_what_the_worker_does() -> None:
    state = health(tick=99.0, queues=BOTH).snapshot()
    assert (state.pool_size, state.prefetch_limit, state.reconnects) == (2, 8, 1)
    assert state.consuming == BOTH
    assert state.connected
