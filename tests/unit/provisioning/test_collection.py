import gc
import threading
from collections.abc import Iterator

import pytest

from provisioning.broker.state import State
from provisioning.collection import collector_resting
from provisioning.plan import Resource, plan

TIMEOUT = 10


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_the_collector_rests_in_a_block_and_goes_on_after_it() -> None:
    with collector_resting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), collector_resting():
        _ = 1 / 0
    assert gc.isenabled()


def test_who_has_stopped_it_before_finds_it_stopped() -> None:
    gc.disable()
    with collector_resting():
        pass
    assert not gc.isenabled()


def test_it_goes_on_when_the_last_of_several_threads_is_done() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector_resting():
            inside.set()
            leave.wait(TIMEOUT)

    thread = threading.Thread(target=other)
    with collector_resting():
        thread.start()
        assert inside.wait(TIMEOUT)
    assert not gc.isenabled()
    leave.set()
    thread.join(TIMEOUT)
    assert gc.isenabled()


def test_the_collector_rests_while_a_plan_is_made_and_not_after_it() -> None:
    seen = []

    def actual() -> Iterator[Resource]:
        seen.append(gc.isenabled())
        yield from ()

    plan(State(), actual())
    assert seen == [False]
    assert gc.isenabled()
