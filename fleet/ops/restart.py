"""How does every worker of a host start anew, without a moment in which none runs?"""

from collections.abc import Sequence

from fleet.model import Fleet, Host
from fleet.ops.host_change import HostChange
from fleet.ops.host_plans import Intent, plan_change
from fleet.ops.host_records import from_host
from fleet.ops.hosts import SudoPassword, on_hosts
from provisioning.hosts.many import Done
from provisioning.hosts.runner import Runner


def plan_restart(
    fleet: Fleet, hosts: Sequence[Host], *, sudo_password: SudoPassword | None = None
) -> tuple[Done[HostChange], ...]:
    """Look at each of ``hosts`` and return how its workers start anew in their other slots."""
    return _plan(fleet, hosts, Intent(anew=True), sudo_password)


def plan_resume(
    fleet: Fleet, hosts: Sequence[Host], *, sudo_password: SudoPassword | None = None
) -> tuple[Done[HostChange], ...]:
    """Look at each of ``hosts`` and return how its workers start again after a drain."""
    return _plan(fleet, hosts, Intent(resume=True), sudo_password)


def _plan(
    fleet: Fleet, hosts: Sequence[Host], intent: Intent, sudo_password: SudoPassword | None
) -> tuple[Done[HostChange], ...]:
    def work(host: Host, runner: Runner) -> HostChange:
        return plan_change(from_host(fleet, host.name, runner, stands=True), runner, intent)

    return on_hosts(fleet, hosts, work, sudo_password=sudo_password)
