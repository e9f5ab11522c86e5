"""Many hosts at once: nobody waits for a dead one, and everything ends."""

import threading
import time
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.errors import HostTimeout, HostUnreachable
from provisioning.hosts.many import Done, on_each
from provisioning.hosts.rota import Rota

DEADLINE = 10.0


@given(
    st.lists(st.floats(0.01, 30.0), max_size=40),
    st.integers(1, 8),
)
def test_every_host_runs_once_within_its_deadline_and_at_most_so_many_at_once(
    takes: list[float], parallel: int
) -> None:
    rota = Rota(len(takes), parallel=parallel, deadline_seconds=DEADLINE)
    now, ends, begun, given_up = 0.0, list[tuple[float, int]](), list[int](), set[int]()
    while not rota.is_done:
        for number in rota.begin(now):
            begun.append(number)
            heappush(ends, (now + takes[number], number))
        assert len(rota.running) <= parallel
        # The next thing is an end or a deadline, as for the thread that waits.
        wait = rota.wait_seconds(now)
        if ends and ends[0][0] <= now + wait:
            now, number = heappop(ends)
            assert rota.end(number) is (number not in given_up)
        else:
            now += wait
        given_up.update(rota.give_up(now))
    assert begun == list(range(len(takes)))
    assert given_up == {
        number for number, takes_seconds in enumerate(takes) if takes_seconds > DEADLINE
    } or all(takes[number] >= DEADLINE for number in given_up)
    # No worse than twice what the best order would need (Graham's bound).
    bounded = [min(each, DEADLINE) for each in takes]
    assert now <= sum(bounded) / parallel + max(bounded, default=0.0) + 1e-6


def test_results_come_in_the_order_of_the_hosts_with_the_errors_in_their_places() -> None:
    gate = threading.Event()

    def work(name: str) -> str:
        if name == "first":
            assert gate.wait(5)
        if name == "bad":
            raise HostUnreachable("gone")
        if name == "last":
            gate.set()
        return name.upper()

    done = on_each(("first", "bad", "last"), work, parallel=2, deadline_seconds=5)
    assert [(each.name, each.value) for each in done] == [("first", "FIRST"), ("bad", None), ("last", "LAST")]
    assert str(done[1].error) == "gone"


def test_a_host_that_hangs_is_given_up_and_its_place_is_taken() -> None:
    hung_up = threading.Event()
    gave_up: list[str] = []

    def work(name: str) -> str:
        if name == "hangs":
            assert hung_up.wait(5)
        return name

    def give_up(name: str) -> None:
        gave_up.append(name)
        hung_up.set()

    seen: list[Done[str]] = []
    done = on_each(
        ("hangs", "a", "b"), work, parallel=1, deadline_seconds=0.2, give_up=give_up, on_done=seen.append
    )
    assert [each.value for each in done] == [None, "a", "b"]
    assert isinstance(done[0].error, HostTimeout)
    assert "host `hangs` was given up after 0.2 s" in str(done[0].error)
    assert gave_up == ["hangs"]
    assert [each.name for each in seen] == ["hangs", "a", "b"]


@pytest.mark.parametrize("error", [KeyError("a fault"), KeyboardInterrupt()])
def test_a_fault_and_an_interrupt_hang_up_on_all_that_run_and_leave_no_thread(error: BaseException) -> None:
    hung_up = threading.Event()

    def work(name: str) -> None:
        if name == "bad":
            raise error
        hung_up.wait(5)

    started = time.monotonic()
    with pytest.raises(type(error)):
        on_each(("a", "bad", "b"), work, parallel=3, deadline_seconds=5, give_up=lambda _: hung_up.set())
    assert time.monotonic() - started < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("host-")]


def test_no_hosts_need_no_time() -> None:
    assert on_each((), lambda name: name, parallel=4, deadline_seconds=1) == ()
