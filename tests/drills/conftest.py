"""A drill's rows, and the page that they are written into."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerVhost
from tests.drills.page import page_with
from tests.integration.worker.conftest import Shop, shops
from tests.servers import Provisioned, RunFleet, StartWorker

DOCS = Path(__file__).parents[2] / "docs"
#: ``record("how-to/page.md", {"what": "seconds"})`` writes a drill's table into its page, if that is wanted
Record = Callable[[str, dict[str, str]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-tables", action="store_true", help="write what drills measured into their pages"
    )


@pytest.fixture
def record(pytestconfig: pytest.Config) -> Record:
    """Keep what a drill measured."""

    def write(page: str, measured: dict[str, str]) -> None:
        path = DOCS / page
        text = page_with(path.read_text(encoding="utf-8"), measured)
        if pytestconfig.getoption("--write-tables", default=False):
            path.write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def own_shop(
    own_rabbit: RabbitNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Shop]:
    """A shop on host alpha, on a node that may lose everything."""
    provisioned = Provisioned(vhost=BrokerVhost.name_only(own_rabbit, tmp_path), run_fleet=run_fleet)
    with contextlib.ExitStack() as stack:
        make = stack.enter_context(shops(provisioned, start_worker, tmp_path))
        yield make()
