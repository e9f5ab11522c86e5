"""How do the workers of a host come to rest, and what still runs there?"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleet.hosts.history import history
from fleet.hosts.paths import CURRENT, DRAINED
from fleet.hosts.performing import QUICK_SECONDS
from fleet.hosts.restored import as_is
from fleet.hosts.units import worker_of_unit
from fleet.model import Fleet, Host
from fleet.ops.host_change import HostChange
from fleet.ops.host_plans import look
from fleet.ops.host_sources import Known
from fleet.ops.hosts import SudoPassword, on_hosts
from fleet.worker.stop import DRAINING, ENDING
from provisioning.errors import HostUnfit
from provisioning.hosts.door import HostDoor
from provisioning.hosts.many import Done
from provisioning.hosts.objects import File, HostObject, Unit
from provisioning.hosts.planning import plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import HostState

#: between two looks at what still runs (s): first, and at most
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
#: a worker that was told to end says so within this time (s)
TOLD_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An instance of a worker that has not ended."""

    unit: str
    #: what it says of itself, such as ``draining, 2 tasks left``
    status: str


def plan_drain(
    fleet: Fleet, hosts: Sequence[Host], mark: bytes, *, sudo_password: SudoPassword | None = None
) -> tuple[Done[HostChange], ...]:
    """Look at each of ``hosts`` and return how its workers come to rest and stay there; ``mark`` says why."""
    return on_hosts(fleet, hosts, lambda _, runner: drain_change(runner, mark), sudo_password=sudo_password)


def drain_change(runner: Runner, mark: bytes) -> HostChange:
    """Look at a host and return how its workers come to rest; one that is drained keeps its first mark."""
    door = HostDoor(runner)
    known = look(door)
    if ("path", CURRENT) not in known:
        raise HostUnfit(
            f"host `{runner.name}`: nothing of the fleet is there", hint="`fleet provision hosts` brings it"
        )
    told = [_at_rest(found) for found in known.values()]
    if ("path", DRAINED) not in known:
        told.append(File(path=DRAINED, content=mark))
    wanted = HostState(told)
    return HostChange(release=_current(known), begin=plan(wanted, door.observe(wanted)))


def still_running(
    fleet: Fleet, hosts: Sequence[Host], *, sudo_password: SudoPassword | None = None
) -> tuple[Done[tuple[Running, ...]], ...]:
    """Return what still runs on each of ``hosts``."""
    return on_hosts(fleet, hosts, lambda _, runner: running(runner), sudo_password=sudo_password)


def running(runner: Runner) -> tuple[Running, ...]:
    """Return the instances of workers that have not ended on a host."""
    units = (thing for thing in look(HostDoor(runner)).values() if isinstance(thing, Unit))
    return tuple(
        Running(unit=unit.name, status=unit.status)
        for unit in units
        if worker_of_unit(unit.name) and (unit.ending or unit.active is not False)
    )


def await_rest(
    fleet: Fleet,
    hosts: Sequence[Host],
    *,
    seconds: float,
    sudo_password: SudoPassword | None = None,
    on_look: Callable[[Mapping[str, tuple[Running, ...]]], None] = lambda _: None,
) -> tuple[Done[tuple[Running, ...]], ...]:
    """Look again and again until nothing runs on ``hosts``, for at most ``seconds``; return the last look.

    A worker that was told to end a moment ago is given time to say what it has left.
    """
    begun, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    until = begun + seconds
    while True:
        seen = still_running(fleet, hosts, sudo_password=sudo_password)
        left = {each.name: each.value for each in seen if each.value}
        if not all(map(_says_so, left.values())) and time.monotonic() < begun + TOLD_SECONDS:
            time.sleep(FIRST_PAUSE_SECONDS)
            continue
        on_look(left)
        rest = until - time.monotonic()
        if not left or rest <= 0:
            return seen
        # Nothing over there tells when a unit has ended, but to who asks.
        time.sleep(min(pause, rest))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _says_so(running: Sequence[Running]) -> bool:
    return all(each.status.startswith((DRAINING, ENDING)) for each in running)


def cut_short(runner: Runner) -> None:
    """Let what still runs on a host be run again elsewhere, now: each worker stops its tasks and ends."""
    for each in running(runner):
        # To the main process only, which ends its children in order.
        kill = ("systemctl", "kill", "--kill-who=main", "--signal=QUIT", "--", each.unit)
        runner.run(kill, as_root=True, timeout_seconds=QUICK_SECONDS)


def _at_rest(found: HostObject) -> HostObject:
    if isinstance(found, Unit) and worker_of_unit(found.name) is not None:
        return Unit(name=found.name, enabled=False, active=False, waits=False)
    return as_is(found)


def _current(known: Known) -> str:
    return history(known, ()).current or ""
