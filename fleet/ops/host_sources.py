"""Where does the new state of a host come from: the fleet file, or what the host itself has kept?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fleet.hosts.bundle import Material, bundle
from fleet.hosts.kept import Kept
from fleet.hosts.restored import as_it_stands, as_released
from fleet.hosts.state import host_objects
from fleet.hosts.units import Instance
from fleet.model import Fleet
from fleet.routes import worker_queues
from provisioning.hosts.objects import HostObject
from provisioning.plan import Identity

#: what is ours on a host
Known = Mapping[Identity, HostObject]


class Source(Protocol):
    """Where the new state of a host comes from."""

    @property
    def host(self) -> str:
        """The host."""

    @property
    def release(self) -> str:
        """The name of the release that is to run."""

    @property
    def workers(self) -> tuple[str, ...]:
        """The workers of the host."""

    def objects(self, instances: tuple[Instance, ...]) -> tuple[HostObject, ...]:
        """Return what the host is to have with these instances."""

    def queues(self, worker: str) -> frozenset[str]:
        """Return the broker queues that ``worker`` consumes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """The fleet file says what the host is to have."""

    fleet: Fleet
    host: str
    release: str
    material: Material

    @property
    def workers(self) -> tuple[str, ...]:
        """Those of the fleet file."""
        return tuple(worker.name for worker in self.fleet.workers_on(self.host))

    def objects(self, instances: tuple[Instance, ...]) -> tuple[HostObject, ...]:
        """Return the bundle."""
        records = bundle(self.fleet, self.host, self.release, self.material, instances=instances)
        return host_objects(self.fleet, self.host, records, instances)

    def queues(self, worker: str) -> frozenset[str]:
        """As the fleet file says."""
        return frozenset(queue.name for queue in worker_queues(self.fleet, worker, self.host))


@dataclass(frozen=True, slots=True, kw_only=True)
class FromHost:
    """The host is to have what a release ran with there before."""

    #: as it was when the release ran with it
    fleet: Fleet
    host: str
    #: what is ours there now
    known: Known = field(repr=False)
    kept: Kept
    #: the release is the current one, and nothing besides its workers changes
    stands: bool

    @property
    def release(self) -> str:
        """Its release."""
        return self.kept.release

    @property
    def workers(self) -> tuple[str, ...]:
        """Those that ran with it."""
        return tuple(self.kept.workers)

    def objects(self, instances: tuple[Instance, ...]) -> tuple[HostObject, ...]:
        """Return what was kept, and the secrets that are there."""
        if self.stands:
            return as_it_stands(self.kept, self.known, instances)
        return as_released(self.host, self.kept, self.known, instances)

    def queues(self, worker: str) -> frozenset[str]:
        """As the fleet file of that time says."""
        return frozenset(queue.name for queue in worker_queues(self.fleet, worker, self.host))
