"""The hosts that tests share, as fixtures.

One lab serves a whole run. Its hosts are declared at once, so that addresses do not depend on which tests
run, and booted when a test asks for them; a test gets clean hosts, and clusters that are whole.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerNode, BrokerVhost
from tests.hosts.lab import Host, HostSpec, Image, Lab
from tests.hosts.lab.brokers import RELEASES, Cluster, broker_specs
from tests.hosts.lab.layers import OFFERED_RABBITMQ, POSTFIX, POSTGRES, PROMETHEUS, PYTHON_APT
from tests.hosts.lab.system import lab_missing, machine_suite
from tests.hosts.lab.wheels import fleet_layer, suite_of_this_python

WORKERS = ("alpha", "beta", "gamma")
MAIL = "mail"
SERVICES = "services"
#: broker hosts by release: three that form a cluster, and one that stands alone
CLUSTERS = {"3.10": ("mq1", "mq2", "mq3"), "4.0": ("mx1", "mx2", "mx3")}
SINGLES = {"3.10": "mq", "4.0": "mx"}
#: machines that are to become such clusters, and have an archive with the package within reach
BARE = {"3.10": ("mb1", "mb2", "mb3"), "4.0": ("my1", "my2", "my3")}

#: ``clean_hosts("alpha", "beta")`` returns these hosts, booted, as if they had never been used
CleanHosts = Callable[..., tuple[Host, ...]]


@dataclass(frozen=True, slots=True)
class Clusters:
    """The brokers of a lab, made when they are first asked for."""

    lab: Lab
    directory: Path
    _made: dict[tuple[str, ...], Cluster] = field(default_factory=dict)

    def cluster(self, release: str) -> Cluster:
        """Return the three nodes of ``release``, whole."""
        return self._whole(CLUSTERS[release])

    def single(self, release: str) -> Cluster:
        """Return the node of ``release`` that stands alone."""
        return self._whole((SINGLES[release],))

    def _whole(self, names: tuple[str, ...]) -> Cluster:
        if names not in self._made:
            directory = self.directory / names[0]
            directory.mkdir(parents=True, exist_ok=True)
            self._made[names] = Cluster(self.lab, names, directory)
        self._made[names].mend()
        return self._made[names]


def host_specs() -> tuple[HostSpec, ...]:
    """Return every host that a test may ask for."""
    plain = Image(suite=suite_of_this_python(), layers=(fleet_layer(),))
    specs = [HostSpec(name=name, image=plain) for name in WORKERS]
    specs.append(HostSpec(name=MAIL, image=Image(suite="bookworm", layers=(POSTFIX,))))
    specs.append(HostSpec(name=SERVICES, image=Image(suite="bookworm", layers=(PROMETHEUS, POSTGRES))))
    for key, release in RELEASES.items():
        specs += broker_specs((*CLUSTERS[key], SINGLES[key]), release)
    for key, release in RELEASES.items():
        bare = Image(suite=release.suite, layers=(PYTHON_APT, OFFERED_RABBITMQ))
        specs += [HostSpec(name=name, image=bare) for name in BARE[key]]
    return tuple(specs)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The run's lab; no host is on yet."""
    missing = lab_missing()
    if missing:
        pytest.skip(missing)
    with Lab.start(f"test-{os.getpid()}", host_specs()) as made:
        yield made


@pytest.fixture
def clean_hosts(lab: Lab) -> CleanHosts:
    """Boot hosts with new disks: ``clean_hosts("alpha", "beta")``."""

    def boot(*names: str) -> tuple[Host, ...]:
        hosts = tuple(lab[name] for name in names)
        for host in hosts:
            if not host.is_fresh:
                host.reset()
        lab.boot(*names)
        return hosts

    return boot


@pytest.fixture
def host(clean_hosts: CleanHosts) -> Host:
    """One clean host."""
    return clean_hosts(WORKERS[0])[0]


@pytest.fixture(scope="session")
def clusters(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Clusters:
    """The lab's brokers."""
    return Clusters(lab, tmp_path_factory.mktemp("brokers"))


@pytest.fixture(params=list(RELEASES))
def release(request: pytest.FixtureRequest) -> str:
    """Each RabbitMQ release in turn."""
    return str(request.param)


@pytest.fixture
def cluster(clusters: Clusters, release: str) -> Cluster:
    """Three nodes of each release, whole."""
    return clusters.cluster(release)


@pytest.fixture
def each_broker(request: pytest.FixtureRequest, release: str) -> BrokerNode:
    """One node of each release, for tests that need a broker and no host.

    It is the run's private node where this machine's own Debian has that release, else a host of the lab.
    """
    if RELEASES[release].suite == machine_suite():
        private: RabbitNode = request.getfixturevalue("rabbit")
        return private
    brokers: Clusters = request.getfixturevalue("clusters")
    return brokers.single(release).nodes[0]


@pytest.fixture
def each_vhost(each_broker: BrokerNode, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost of the test's own on one node of each release."""
    made = BrokerVhost.create(each_broker, tmp_path)
    try:
        yield made
    finally:
        made.delete()
