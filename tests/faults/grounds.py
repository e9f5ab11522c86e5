"""Where do cases take place? On a private broker, or on brokers and hosts of the lab; made when needed."""

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from fleet.daemons.rabbitmq import RabbitNode
from tests.faults.brokers import FaultyBroker
from tests.faults.hosts import HostStage, host_stage
from tests.faults.subjects import HOSTS
from tests.hosts.fixtures import Clusters, host_specs
from tests.hosts.lab import Lab
from tests.hosts.lab.brokers import RELEASES, Cluster
from tests.hosts.lab.system import machine_suite
from tests.hosts.lab.wheels import fleet_wheel


class Grounds:
    """What a run of cases stands on; everything is ended with it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()

    def broker(self, release: str) -> FaultyBroker:
        """Return a broker of ``release``: private where this machine's Debian has it, else one of the lab."""
        is_private = RELEASES[release].suite == machine_suite()
        node = self._private if is_private else self._clusters.single(release).nodes[0]
        return FaultyBroker(node, RELEASES[release].version)

    def cluster(self, release: str) -> Cluster:
        """Return three nodes of ``release``, whole."""
        return self._clusters.cluster(release)

    def stage(self, release: str, directory: Path) -> HostStage:
        """Return a stage on clean hosts and a whole cluster."""
        cluster = self.cluster(release)
        hosts = tuple(self._lab[name] for name in HOSTS)
        for host in hosts:
            if not host.is_fresh:
                host.reset()
        self._lab.boot(*HOSTS)
        return host_stage(cluster, hosts, wheel=self._wheel, directory=directory)

    @cached_property
    def _private(self) -> RabbitNode:
        return self._stack.enter_context(RabbitNode.start(self._directory / "node"))

    @cached_property
    def _lab(self) -> Lab:
        return self._stack.enter_context(Lab.start(f"faults-{os.getpid()}", host_specs()))

    @cached_property
    def _clusters(self) -> Clusters:
        return Clusters(self._lab, self._made("brokers"))

    @cached_property
    def _wheel(self) -> Path:
        return fleet_wheel(self._made("wheel"))

    def _made(self, name: str) -> Path:
        path = self._directory / name
        path.mkdir()
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
