"""Which workers would serve the queues that a broker shows?"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fleet.adopt.queues import FoundQueue

SHARED_WORKER = "shared"
#: leaves room in a name for what tells it from another
_NAME_LENGTH = 56


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWorker:
    """A worker of the fleet file that is to be."""

    name: str
    #: None: every host
    hosts: tuple[str, ...] | None
    queues: tuple[str, ...]


def workers(queues: Sequence[FoundQueue]) -> tuple[FoundWorker, ...]:
    """Return a worker for each queue that is long or some hosts' own; the others share one where they may."""
    together: dict[tuple[str, ...] | None, list[str]] = {}
    for queue in queues:
        if _shares(queue):
            together.setdefault(queue.served_by, []).append(queue.name)
    # The shared ones have their names first.
    shared: list[FoundWorker] = []
    for hosts, names in together.items():
        name = _free(SHARED_WORKER, [worker.name for worker in shared])
        shared.append(FoundWorker(name=name, hosts=hosts, queues=tuple(names)))
    found: list[FoundWorker] = []
    for queue in queues:
        if not _shares(queue):
            name = _free(queue.name, [worker.name for worker in (*shared, *found)])
            found.append(FoundWorker(name=name, hosts=queue.served_by, queues=(queue.name,)))
    return (*found, *shared)


def _shares(queue: FoundQueue) -> bool:
    return not queue.long and queue.hosts is None


def _free(name: str, taken: Collection[str]) -> str:
    candidates = (f"{name[:_NAME_LENGTH]}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in candidates if each not in taken)
