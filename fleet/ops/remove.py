"""How does a host leave the fleet? What fleet put there goes; what the host made stays."""

from dataclasses import dataclass, replace

from fleet.hosts.install import INSTALL_SECONDS
from fleet.hosts.paths import HOME, INCOMING, OPT, RELEASES, USER
from fleet.hosts.units import worker_of_unit
from fleet.model import Fleet, Host
from fleet.ops.drain import cut_short, running
from fleet.ops.host_plans import look
from fleet.ops.hosts import SudoPassword, on_hosts
from provisioning.apply import Report
from provisioning.errors import HostChangeFailed
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.many import Done
from provisioning.hosts.objects import Directory, Unit
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.runner import Runner
from provisioning.hosts.state import KEPT, HostState

#: releases are no objects of a plan: they come, and go, apart
_REMOVAL = (
    ("rm", "-rf", "--", INCOMING, RELEASES),
    # Whatever else somebody may have put there keeps it.
    ("sh", "-c", f"rmdir -- {OPT} 2>/dev/null || true"),
)
#: ends well where something of the above is left to do
_IS_LEFT = (
    *("sh", "-c"),
    f'test -e {INCOMING} || test -e {RELEASES} || {{ test -d {OPT} && test -z "$(ls -A {OPT})"; }}',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes from a host, and what stays."""

    plan: HostPlan
    #: releases are there, or what is left of them when their removal was cut off
    has_releases: bool
    #: directories that stay, where they hold something
    kept: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Nothing of the fleet is there."""
        return not self.plan.changes and not self.has_releases


def plan_removal(fleet: Fleet, host: Host, *, sudo_password: SudoPassword | None = None) -> Done[Removal]:
    """Look at ``host`` and return what goes."""
    (done,) = on_hosts(fleet, (host,), lambda _, runner: _removal(runner), sudo_password=sudo_password)
    return done


def has_workers(planned: HostPlan) -> bool:
    """Tell whether workers that are not at rest are among what goes."""
    units = (change.before for change in planned.changes if isinstance(change.before, Unit))
    return any(
        worker_of_unit(unit.name) is not None and (unit.enabled or unit.ending or unit.active is not False)
        for unit in units
    )


def cut_host_short(fleet: Fleet, host: Host, *, sudo_password: SudoPassword | None = None) -> Done[None]:
    """Let the tasks that still run on ``host`` be run again elsewhere."""
    (done,) = on_hosts(fleet, (host,), lambda _, runner: cut_short(runner), sudo_password=sudo_password)
    return done


def take_off(
    fleet: Fleet, host: Host, *, by: Operator, sudo_password: SudoPassword | None = None
) -> Done[Report]:
    """Take the fleet off ``host``, whose workers have come to rest."""

    def work(_: Host, runner: Runner) -> Report:
        return _take_off(runner, by)

    (done,) = on_hosts(fleet, (host,), work, sudo_password=sudo_password)
    return done


def _removal(runner: Runner) -> Removal:
    door = HostDoor(runner)
    known = look(door)
    directories = (each.path for each in known.values() if isinstance(each, Directory))
    # What workers keep and copies that they made are nobody's to delete but the operator's.
    data = tuple(path for path in directories if not path.startswith("/etc/"))
    has_releases = runner.run(_IS_LEFT, as_root=True).exit_code == 0
    planned = plan(HostState(()), door.observe(HostState(())))
    always = (f"user {USER} and {HOME}", *KEPT[::2])
    return Removal(plan=planned, has_releases=has_releases, kept=(*always, *data))


def _take_off(runner: Runner, by: Operator) -> Report:
    if left := running(runner):
        units = ", ".join(each.unit for each in left)
        raise HostChangeFailed(
            f"host `{runner.name}`: {units} still runs; nothing was removed",
            hint="wait longer, or say `--now`: what runs is then run again elsewhere",
        )
    door, nothing = HostDoor(runner), HostState(())
    report = apply(plan(nothing, door.observe(nothing)), door, by=replace(by, reason="remove"))
    if not report.converged:
        return report
    for argv in _REMOVAL:
        ran = runner.run(argv, as_root=True, timeout_seconds=INSTALL_SECONDS)
        if ran.exit_code:
            said = ran.stderr.decode(errors="replace").strip()
            error = HostChangeFailed(f"host `{runner.name}`: `{' '.join(argv)}`: {said}", hint="run it again")
            return replace(report, error=error)
    return report
