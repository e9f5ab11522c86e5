"""What does every check of a fleet file look at, and how does it follow a name?"""

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.config.locate import Path
from fleet.config.problems import Problems, did_you_mean
from fleet.config.schema import FleetFile
from fleet.model import Fleet, Queue
from fleet.routes import serving_hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A fleet that may still be wrong."""

    fleet: Fleet
    #: what ``fleet`` was made from, to tell what was written from what was filled in
    file: FleetFile
    problems: Problems

    def queue(self, name: str, path: Path, *, what: str = "unknown queue") -> Queue | None:
        """Return the queue that is named at ``path``, noting it when there is none."""
        found = self.fleet.queue(name)
        if found is None:
            known = [queue.name for queue in self.fleet.queues]
            self.problems.add(path, f"{what} `{name}`", hint=did_you_mean(name, known))
        return found

    def check_patterns(self, patterns: Iterable[str], path: Path) -> None:
        """Note each host pattern in the list at ``path`` that means no host."""
        hosts = self.fleet.hosts
        known = [host.name for host in hosts] + [f"@{label}" for host in hosts for label in host.labels]
        for index, pattern in enumerate(patterns):
            if not self.fleet.hosts_for((pattern,)):
                hint = did_you_mean(pattern, known)
                self.problems.add((*path, index), f"`{pattern}` matches no host", hint=hint)

    def check_served(self, queue: Queue, patterns: tuple[str, ...], path: Path) -> None:
        """Note at ``path`` the hosts of ``patterns`` that have no worker for the per-host ``queue``."""
        served = serving_hosts(self.fleet, queue)
        idle = [host.name for host in self.fleet.hosts_for(patterns) if host.name not in served]
        if idle:
            self.problems.add(
                path,
                f"no worker serves queue `{queue.name}` on {', '.join(idle)}",
                hint=f'add "{queue.name}" to `queues` of a worker on each of these hosts',
            )
