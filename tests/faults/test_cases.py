"""The faults that every change is tried against; `make faults` performs all, and compares with Celery."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.faults.brokers import FaultyBroker
from tests.faults.case import FLEET
from tests.faults.catalogue import BROKER_CASES
from tests.faults.performing import perform
from tests.servers import skipped_without_packages

CHOSEN = (
    "kill -9 of a worker",
    "a task that kills its child for ever",
    "SIGTERM twice during work",
    "broker kill -9 and restart",
    "consumer timeout 5 s, task of 20 s",
    "200 poison messages among 2,000",
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyBroker]:
    """A node of these tests' own, which they kill."""
    with skipped_without_packages():
        node = RabbitNode.start(tmp_path_factory.mktemp("faults") / "node")
    try:
        yield FaultyBroker(node, node.ctl("version").strip())
    finally:
        node.kill()
        node.stop()


@pytest.mark.parametrize("name", CHOSEN)
def test_nothing_accepted_is_lost_and_nothing_runs_beside_itself(
    name: str, broker: FaultyBroker, tmp_path: Path
) -> None:
    (case,) = (each for each in BROKER_CASES if each.name == name)
    measured = perform(case, broker, FLEET, tmp_path)
    assert not measured.problems, measured.row
