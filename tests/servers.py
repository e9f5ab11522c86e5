"""The real servers that contract and integration tests run against, as fixtures.

One RabbitMQ node serves a whole run; each test gets a vhost of its own. Nothing starts unless a test asks.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import requests

from fleet.daemons.packages import PackagesMissing
from fleet.daemons.process import Child, Command
from fleet.daemons.prometheus import promtool as find_promtool
from fleet.daemons.rabbitmq import RabbitNode
from fleet.daemons.redis import RedisServer
from fleet.daemons.smtp import SmtpSink
from fleet.fleetfile import read
from tests.broker import BrokerVhost


class RunFleet(Protocol):
    """What the fixture ``run_fleet`` gives."""

    def __call__(
        self,
        *arguments: str,
        file: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> "subprocess.CompletedProcess[str]": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What the fixture ``provisioned`` gives; calling it returns the path of a provisioned fleet file."""

    vhost: BrokerVhost
    run_fleet: RunFleet

    def __call__(self, body: str | None = None) -> Path:
        path = self.vhost.write_fleet_toml(body)
        done = self.run_fleet("provision", "broker", "--yes", file=path)
        assert done.returncode == 0, done.stderr
        return path


class StartWorker(Protocol):
    """What the fixture ``start_worker`` gives."""

    def __call__(
        self,
        file: Path,
        worker: str | None = None,
        *,
        host: str = "alpha",
        env: Mapping[str, str] | None = None,
    ) -> Child: ...


@contextmanager
def skipped_without_packages() -> Iterator[None]:
    """Turn packages that are not to be had into a skip (which CI turns into a failure)."""
    try:
        yield
    except PackagesMissing as error:
        pytest.skip(str(error))


def clean_environ() -> dict[str, str]:
    """Return the environment for a subprocess: what programs need, and no variable of a fleet."""
    kept = ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "FLEET_CACHE", "PYTHONPYCACHEPREFIX")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    return environ if "PYTHONPYCACHEPREFIX" in environ else environ | {"PYTHONDONTWRITEBYTECODE": "1"}


def ready_urls(file: Path, *, host: str, worker: str | None = None) -> list[str]:
    """Return where the workers of ``host`` say whether they are ready."""
    return worker_urls(file, "readyz", host=host, worker=worker)


def worker_urls(file: Path, path: str, *, host: str, worker: str | None = None) -> list[str]:
    """Return the URLs of ``path`` at the metrics ports of the workers of ``host``."""
    fleet = read(str(file))
    declared = fleet.host(host)
    assert declared is not None
    return [
        f"http://{declared.address}:{one.metrics_port}/{path}"
        for one in fleet.workers_on(host)
        if worker in (None, one.name)
    ]


def answers_ok(url: str) -> bool:
    """Tell whether ``url`` answers 200 now."""
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


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
def run_fleet(tmp_path: Path) -> RunFleet:
    """Call it like the command line: ``run_fleet("config", "check", file=path, env={…})``."""

    def run(
        *arguments: str, file: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        selected = {"FLEET_FILE": str(file)} if file else {}
        return subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", *arguments),
            cwd=tmp_path,
            env=clean_environ() | selected | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def provisioned(rabbit: RabbitNode, run_fleet: RunFleet, tmp_path: Path) -> Iterator[Provisioned]:
    """A vhost that `fleet provision broker` makes: ``provisioned(body)`` returns the fleet file's path."""
    named = BrokerVhost.name_only(rabbit, tmp_path)
    try:
        yield Provisioned(vhost=named, run_fleet=run_fleet)
    finally:
        named.delete()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Start real workers and wait until they are ready; every one of them is ended after the test.

    ``start_worker(path)`` runs all workers of host ``alpha``, ``start_worker(path, "shared")`` one of them.
    """
    started: list[Child] = []

    def start(
        file: Path, worker: str | None = None, *, host: str = "alpha", env: Mapping[str, str] | None = None
    ) -> Child:
        chosen = (worker, "--host", host) if worker else ("--host", host)
        # A killed worker leaves its temporary directory behind.
        (tmp_path / "worker-tmp").mkdir(exist_ok=True)
        own = {"FLEET_FILE": str(file), "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path / "worker-tmp")}
        environ = clean_environ() | own | dict(env or {})
        command = Command(
            name=f"fleet worker {' '.join(chosen)}",
            argv=(sys.executable, "-m", "fleet.cli.main", "worker", *chosen),
            environ=environ,
            log=tmp_path / f"worker-{worker or 'all'}-{host}-{len(started)}.log",
            cwd=tmp_path,
        )
        child = Child.start(command)
        started.append(child)
        urls = ready_urls(file, host=host, worker=worker)
        child.await_ready(lambda: all(map(answers_ok, urls)), timeout_seconds=45)
        return child

    try:
        yield start
    finally:
        for child in started:
            child.signal(signal.SIGTERM)
        for child in started:
            child.stop(grace_seconds=15)


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
