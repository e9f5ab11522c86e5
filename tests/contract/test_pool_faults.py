"""What a worker's pool of real child processes keeps when children die and connections are lost."""

import fcntl
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError
from celery.concurrency.prefork import TaskPool

from fleet.worker.children import pool_pids
from fleet.worker.pool import FleetPool
from fleet.worker.unread import take_in
from tests.contract.pools import started, turn
from tests.integration.worker.conftest import eventually

#: more than a pipe holds: a child cannot have written all of it when the first of it is read
LARGE = 1_000_000


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    with started(FleetPool) as made:
        turn(made, until=lambda: made._pool._all_inqueues)
        yield made


def run(pool: TaskPool, function: Any, *args: object, **options: Any) -> int:
    """Have a child run something; return its process id once it has accepted that."""
    accepted: list[int] = []
    pool.apply_async(function, args, accept_callback=lambda pid, _: accepted.append(pid), **options)
    turn(pool, until=lambda: accepted)
    return accepted[0]


def half_read(pool: TaskPool, expression: str, **options: Any) -> int:
    """Read a piece of a large result; return the process id of the child that writes it."""
    pid = run(pool, eval, expression, **options)
    (descriptor,) = pool._pool._fileno_to_outq
    eventually(lambda: unread(descriptor) > LARGE // 100, what="the child writes its result")
    pool._pool.handle_result_event(descriptor)
    return pid


def unread(descriptor: int) -> int:
    """Return how many bytes a pipe holds."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_what_a_child_has_said_can_be_taken_in_after_the_loop_was_left(pool: TaskPool) -> None:
    accepted: list[int] = []
    ended: list[object] = []
    pool.apply_async(
        time.sleep, (0.2,), accept_callback=lambda pid, _: accepted.append(pid), callback=ended.append
    )
    (job,) = pool._pool._cache.values()
    turn(pool, until=lambda: job._write_to is not None)
    pool.hub.reset()
    take_in(pool)
    assert accepted == list(pool_pids(pool)), "a task on its way into a child is waited for"
    assert job._accepted
    (descriptor,) = pool._pool._fileno_to_outq
    assert select.select([descriptor], [], [], 30)[0], "the child says that it has ended"
    assert not ended
    take_in(pool)
    assert ended == [None]
    assert not pool._pool._cache


def test_a_message_of_which_half_has_come_is_read_on(pool: TaskPool) -> None:
    # More than a pipe holds: the child cannot have written all of it when the first of it is read.
    ended: list[bytes] = []
    pool.apply_async(bytes, (1_000_000,), callback=ended.append)
    (job,) = pool._pool._cache.values()
    turn(pool, until=lambda: job._accepted)
    deadline = time.monotonic() + 30
    while not ended:
        assert time.monotonic() < deadline
        take_in(pool)
    assert ended == [bytes(1_000_000)]


def test_nothing_that_waits_for_a_slot_begins_when_the_connection_is_lost(pool: TaskPool) -> None:
    accepted: list[str] = []
    ended: list[object] = []
    for name in ("first", "second"):
        pool.slots.acquire(
            partial(
                pool.apply_async,
                time.sleep,
                (0.2,),
                accept_callback=lambda *_, name=name: accepted.append(name),
                callback=ended.append,
            )
        )
    turn(pool, until=lambda: accepted)
    pool.hub.reset()
    assert select.select([*pool._pool._fileno_to_outq], [], [], 30)[0], "the first says that it has ended"
    take_in(pool)
    assert (accepted, ended) == (["first"], [None])
    assert not pool._pool._cache


def test_a_result_of_which_half_was_read_when_the_connection_was_lost_comes_whole(pool: TaskPool) -> None:
    ended: list[object] = []
    half_read(pool, f"bytes({LARGE})", callback=ended.append)
    pool.hub.reset()
    take_in(pool)
    pool.flush()
    pool.register_with_event_loop(pool.hub)
    pool.apply_async(int, ("7",), callback=ended.append)
    turn(pool, until=lambda: len(ended) == 2)
    assert ended == [bytes(LARGE), 7]


def test_a_result_of_which_half_was_read_comes_whole_when_the_pool_is_stopped(pool: TaskPool) -> None:
    ended: list[object] = []
    half_read(pool, f"bytes({LARGE})", callback=ended.append)
    pool.stop()
    assert ended == [bytes(LARGE)]


@pytest.mark.timeout(60)
def test_a_pool_stops_though_a_child_was_killed_in_the_middle_of_a_result(pool: TaskPool) -> None:
    pid = run(pool, bytes, LARGE)
    (descriptor,) = pool._pool._fileno_to_outq
    eventually(lambda: unread(descriptor) > LARGE // 100, what="the child writes its result")
    os.kill(pid, signal.SIGKILL)
    pool.stop()


@pytest.mark.parametrize("shift", range(4))
def test_the_rest_of_a_result_is_not_taken_for_another_when_its_child_is_killed(
    pool: TaskPool, shift: int
) -> None:
    # Wherever it is cut, one of the four begins its rest with the length of a short message.
    length = b"\x00\x00\x00\x05"
    body = f"{length[shift:] + length[:shift]!r} * {LARGE}"
    ended: list[object] = []
    failed: list[Any] = []
    pid = half_read(pool, body, callback=ended.append, error_callback=failed.append, lost_worker_timeout=0.1)
    (child,) = pool._pool._pool
    os.kill(pid, signal.SIGKILL)
    child.join(30)
    # As Celery's timer does, and the end of another child: before the event loop reads on.
    pool.maintain_pool()
    turn(pool, until=lambda: failed)
    assert isinstance(failed[0].exception.exc, WorkerLostError)
    pool.apply_async(int, ("7",), callback=ended.append)
    turn(pool, until=lambda: ended)
    assert ended == [7]


def test_nothing_is_read_from_what_has_the_descriptor_of_a_killed_child_now() -> None:
    low = [os.dup(0) for _ in range(4)]
    with started(FleetPool) as pool:
        children = pool._pool
        (killed,) = children._pool
        pid = run(pool, time.sleep, 30)
        for descriptor in low:
            # The pipes of the next child come here, and the old ones' places stay free.
            os.close(descriptor)
        os.kill(pid, signal.SIGKILL)
        turn(pool, until=lambda: children._all_inqueues and children._pool[0] is not killed)
        (child,) = children._pool
        assert child.outqR_fd != killed.outqR_fd
        assert children._fileno_to_outq == {child.outqR_fd: child}
