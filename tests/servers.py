"""The real servers that contract and integration tests run against, as fixtures.

One RabbitMQ node serves a whole run; each test gets a vhost of its own. Nothing starts unless a test asks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.daemons.packages import PackagesMissing
from fleet.daemons.prometheus import promtool as find_promtool
from fleet.daemons.rabbitmq import RabbitNode
from fleet.daemons.redis import RedisServer
from fleet.daemons.smtp import SmtpSink
from tests.broker import BrokerVhost


@contextmanager
def skipped_without_packages() -> Iterator[None]:
    """Turn packages that are not to be had into a skip (which CI turns into a failure)."""
    try:
        yield
    except PackagesMissing as error:
        pytest.skip(str(error))


def clean_environ() -> dict[str, str]:
    """Return the environment for a subprocess: what programs need, and no variable of a fleet."""
    kept = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "FLEET_CACHE")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """The run's RabbitMQ node. Tests that kill or reconfigure a node start one of their own."""
    with skipped_without_packages():
        node = RabbitNode.start(tmp_path_factory.mktemp("rabbit") / "node")
    try:
        yield node
    finally:
        # Its data is thrown away, so it need not be closed in order.
        node.kill()
        node.stop()


@pytest.fixture
def vhost(rabbit: RabbitNode, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost of the test's own, with ``celery``-like users that may do everything in it."""
    made = BrokerVhost.create(rabbit, tmp_path)
    try:
        yield made
    finally:
        made.delete()


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[RabbitNode]:
    """A RabbitMQ node of this test's own, to be killed, restarted or filled at will (6 s)."""
    with skipped_without_packages():
        node = RabbitNode.start(tmp_path / "own-node")
    try:
        yield node
    finally:
        node.kill()
        node.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    with skipped_without_packages():
        server = RedisServer.start(tmp_path / "redis")
    with server:
        yield server


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpSink]:
    """An SMTP sink of this test's own; script it with ``smtp.script([Rule(…)])``."""
    with SmtpSink.start(tmp_path / "smtp") as sink:
        yield sink


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The path of promtool."""
    with skipped_without_packages():
        return find_promtool()
