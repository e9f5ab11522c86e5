"""How are hosts made to match the fleet file: plan each, then carry out each plan, many at once?"""

import getpass
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.errors import FleetError
from fleet.hosts.bundle import Material
from fleet.hosts.install import Release, install, prune
from fleet.hosts.material import gather_all
from fleet.hosts.paths import RELEASES
from fleet.hosts.release import build_release
from fleet.hosts.target import Target, target_of
from fleet.hosts.units import worker_of_unit
from fleet.model import Fleet, Host
from fleet.ops.host_change import HostChange
from fleet.ops.host_plans import plan_host
from fleet.ops.hosts import Door, SudoPassword, on_hosts
from fleet.ops.put_back import AT_REST, is_drained_now, put_back
from provisioning.apply import Report
from provisioning.errors import HostChangeFailed, HostUnfit, ProvisioningError
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.many import Done
from provisioning.hosts.objects import Unit
from provisioning.hosts.planning import plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import HostState

if TYPE_CHECKING:
    from fleet.ops.witness import Witness


@dataclass(slots=True)
class Releases:
    """Builds a release for each kind of host, once, however many hosts ask at the same time."""

    fleet: Fleet
    cache: Path
    #: wheels that ride along
    wheels: tuple[Path, ...] = ()
    #: told before a release is built, which can take a minute; not where it is there
    report: Callable[[str], None] = lambda _: None
    _built: dict[Target, Release] = field(default_factory=dict)
    _told: set[Target] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def build(self, target: Target) -> Release:
        """Return the release for ``target``. Raises what ``build_release`` does."""
        with self._lock:
            if target not in self._built:
                self._built[target] = build_release(
                    self.fleet,
                    target,
                    cache=self.cache,
                    wheels=self.wheels,
                    on_build=lambda: self._tell(target),
                )
            return self._built[target]

    def _tell(self, target: Target) -> None:
        if target not in self._told:
            self._told.add(target)
            self.report(f"building the release for {target.name}")


def release_cache(environ: Mapping[str, str]) -> Path:
    """Return the directory where this user's releases and their wheels are kept."""
    home = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "fleet"


def this_operator(environ: Mapping[str, str], *, reason: str = "") -> Operator:
    """Return who runs this program, for locks and audit logs."""
    name = environ.get("SUDO_USER") or getpass.getuser()
    return Operator(name=name, origin=socket.gethostname(), reason=reason)


def plan_hosts(
    fleet: Fleet,
    hosts: Sequence[Host],
    environ: Mapping[str, str],
    *,
    releases: Releases,
    contents: bool = False,
    sudo_password: SudoPassword | None = None,
    door: Door | None = None,
) -> tuple[Done[HostChange], ...]:
    """Look at each of ``hosts`` and return what must change there, or why that is not known.

    They are reached through ``door``, over SSH when left out.
    Raises SecretMissing or UsageError before any host is asked, when this machine lacks what a host needs.
    """
    materials = gather_all(fleet, [host.name for host in hosts], environ=environ)

    def work(host: Host, runner: Runner) -> HostChange:
        return plan_one(fleet, runner, materials[host.name], releases=releases, contents=contents)

    return on_hosts(fleet, hosts, work, sudo_password=sudo_password, door=door)


def plan_one(
    fleet: Fleet, runner: Runner, material: Material, *, releases: Releases, contents: bool = False
) -> HostChange:
    """Look at the host that ``runner`` is named after, build its release, and return what must change."""

    def build(runtime: str) -> Release:
        try:
            return releases.build(target_of(runtime))
        except FleetError as error:
            raise HostUnfit(f"host `{runner.name}`: {error.message}", hint=error.hint) from error

    return plan_host(fleet, runner, build, material, contents=contents)


def apply_hosts(
    fleet: Fleet,
    changes: Mapping[str, HostChange],
    *,
    by: Operator,
    witness: "Witness | None" = None,
    allow_destructive: bool = False,
    sudo_password: SudoPassword | None = None,
    on_done: Callable[[Done[Report]], None] = lambda _: None,
) -> tuple[Done[Report], ...]:
    """Carry out what was planned for each host, several at once, and return what became of it."""
    hosts = tuple(host for host in fleet.hosts if host.name in changes)

    def work(host: Host, runner: Runner) -> Report:
        return apply_host(
            changes[host.name], runner, by=by, witness=witness, allow_destructive=allow_destructive
        )

    return on_hosts(fleet, hosts, work, sudo_password=sudo_password, on_done=on_done)


def apply_host(
    change: HostChange,
    runner: Runner,
    *,
    by: Operator,
    witness: "Witness | None" = None,
    allow_destructive: bool = False,
) -> Report:
    """Install the release, start new instances, and end the old ones when those are ready.

    A new instance is ready when it says so, and the ``witness`` sees its consumers. Old instances end in the
    background, for as long as their tasks need. Where a new one does not get ready, the old ones go on, and
    the release that was current is so again.
    """
    door = HostDoor(runner)
    if change.install is not None:
        _install(runner, change.install)
    begun = apply(change.begin, door, by=by, allow_destructive=allow_destructive)
    if begun.converged and witness is not None and (change.ends or _starts(change)):
        begun = _seen(begun, change, runner.name, witness)
    if not begun.converged:
        return put_back(begun, change, door, by)
    if change.end is not None:
        begun = _ended(begun, change, change.end, door, by)
    if change.releases_in_use is not None and begun.converged:
        begun = _cleared(begun, runner, change.releases_in_use)
    return begun


def _told_of(unit: str) -> str:
    return f"{unit} takes nothing new, and ends when its tasks have; a later run clears away what it leaves"


def _starts(change: HostChange) -> bool:
    units = (each.after for each in change.begin.changes if isinstance(each.after, Unit))
    return any(unit.active and worker_of_unit(unit.name) for unit in units)


def _seen(begun: Report, change: HostChange, host: str, witness: "Witness") -> Report:
    """Return ``begun`` as failed where the broker does not see what was started."""
    # Only where something is told to end is a task lost by a new instance that takes none.
    wait = witness.await_consumers if change.ends or change.back else witness.await_first
    try:
        return replace(begun, notes=(*begun.notes, *wait(host, change.consumes)))
    except ProvisioningError as error:
        return replace(begun, error=error)


def _ended(begun: Report, change: HostChange, end: HostState, door: HostDoor, by: Operator) -> Report:
    """Tell old instances to end, and return what was done in both steps.

    Not where somebody has drained the host meanwhile: all are told to end then, and what shall run is not.
    """
    try:
        seen = door.observe(end)
        if is_drained_now(end, seen):
            return replace(begun, notes=(*begun.notes, AT_REST))
        ended = apply(plan(end, seen), door, by=by)
    except ProvisioningError as error:
        return replace(begun, left=None, error=error)
    told = map(_told_of, change.leaving) if ended.converged else ()
    return replace(ended, done=(*begun.done, *ended.done), notes=(*begun.notes, *ended.notes, *told))


def _install(runner: Runner, release: Release) -> None:
    try:
        install(runner, release)
    except FleetError as error:
        raise HostChangeFailed(
            f"host `{runner.name}`: release {release.name} cannot be installed: {error.message};"
            " nothing else was changed",
            hint=error.hint or "is there room below /opt? see `fleet hosts facts`",
        ) from error


def _cleared(done: Report, runner: Runner, in_use: frozenset[str]) -> Report:
    """Remove old releases; return ``done`` with why that failed, for the change itself is made."""
    try:
        prune(runner, in_use=in_use)
    except (FleetError, ProvisioningError) as error:
        told = f"old releases could not be removed: {error.message}"
        hint = error.hint or f"see what keeps them there, in {RELEASES}"
        return replace(done, uncleared=HostChangeFailed(told, hint=hint))
    return done
