"""What lies in the cache is what is locked, and all of it, or nothing is built of it."""

import hashlib
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.hosts.fetched import verify

PLACE = Path("/cache/wheels/cp311-x86_64-0123")
WHEELS = {"new_thing-1-py3-none-any.whl": b"new", "amqp-5-py3-none-any.whl": b"amqp"}
PINS = {
    "new-thing": frozenset({"0" * 64, hashlib.sha256(b"new").hexdigest()}),
    "amqp": frozenset({hashlib.sha256(b"amqp").hexdigest()}),
}


def test_wheels_that_are_locked_are_taken() -> None:
    verify(WHEELS, PINS, PLACE)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (WHEELS | {"amqp-5-py3-none-any.whl": b"changed"}, "amqp-5-py3-none-any.whl` is not what is locked"),
        (WHEELS | {"more-1-py3-none-any.whl": b"more"}, "more-1-py3-none-any.whl` is not what is locked"),
        ({"amqp-5-py3-none-any.whl": b"amqp"}, "lacks new-thing"),
        ({}, "lacks amqp, new-thing"),
    ],
    ids=["changed", "not asked for", "one is gone", "all are gone"],
)
def test_wheels_that_were_changed_added_or_lost_are_told_with_the_way_out(
    found: dict[str, bytes], told: str
) -> None:
    with pytest.raises(FleetError, match=told) as caught:
        verify(found, PINS, PLACE)
    assert caught.value.hint == f"remove `{PLACE}`"
