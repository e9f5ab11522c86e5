from dataclasses import replace

import pytest

from fleet.model import Queue
from fleet.worker.broker import has_control_queue_to_itself, version_of, warnings

DAY = Queue(name="backup", tasks=("fleet.backup",), long=True, max_runtime_seconds=86_400, delivery_limit=200)


@pytest.mark.parametrize(
    ("announced", "version"),
    [
        ("3.10.8", (3, 10, 8)),
        (b"4.0.5", (4, 0, 5)),
        ("4.2.0-rc.1", (4, 2, 0)),
        ("3.12", (3, 12)),
        ("unknown", ()),
        (None, ()),
    ],
)
def test_a_brokers_version_is_read_from_what_it_announces(
    announced: object, version: tuple[int, ...]
) -> None:
    assert version_of({"version": announced, "product": "RabbitMQ"}) == version


def test_a_broker_that_announces_nothing_has_no_version() -> None:
    assert version_of({}) == ()


@pytest.mark.parametrize(
    ("version", "alone"), [((3, 10, 8), False), ((3, 13, 7), False), ((4, 0, 5), True), ((), True)]
)
def test_a_mailbox_is_shared_only_where_the_broker_surely_allows_it(
    version: tuple[int, ...], *, alone: bool
) -> None:
    assert has_control_queue_to_itself(version) is alone


def test_a_delivery_limit_that_consumer_timeouts_use_up_is_warned_of() -> None:
    (warning,) = warnings((3, 10, 8), [replace(DAY, delivery_limit=20), DAY])
    assert "`backup`" in warning
    assert "set it to 53 or more" in warning


def test_where_the_policy_sets_the_consumer_timeout_there_is_nothing_to_warn_of() -> None:
    assert not list(warnings((3, 12, 0), [replace(DAY, delivery_limit=1)]))
    assert not list(warnings((), [replace(DAY, delivery_limit=1)]))


def test_short_tasks_use_up_no_delivery_limit() -> None:
    assert not list(warnings((3, 10, 8), [replace(DAY, long=False, delivery_limit=1)]))
