"""Does a worker leave its own modules out of each look for garbage, and look at what comes later?"""

import gc
import weakref
from collections.abc import Iterator

import pytest

from fleet.worker.garbage import rest, set_aside


class _Knot:
    """Something that refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_looked_for_while_a_worker_starts() -> None:
    rest()
    assert not gc.isenabled()


def test_what_is_there_is_set_aside_and_what_comes_later_is_collected() -> None:
    rest()
    kept = weakref.ref(_Knot())
    set_aside()
    assert gc.isenabled()
    collected = weakref.ref(_Knot())
    gc.collect()
    assert kept() is not None
    assert collected() is None
