from collections.abc import Iterator

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.integration.monitoring.watched import Watched, watched_fleet


@pytest.fixture(scope="package")
def watched(rabbit: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A fleet with two real workers and beat, and the Prometheus that scrapes it and its broker."""
    with watched_fleet(rabbit, tmp_path_factory.mktemp("watched")) as running:
        yield running
