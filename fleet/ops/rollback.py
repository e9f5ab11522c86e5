"""How do hosts go back to the release that ran before, with what it ran with?"""

from collections.abc import Sequence

from fleet.errors import FleetError
from fleet.hosts.history import History, Refusal, choose_releases
from fleet.model import Fleet, Host
from fleet.ops.host_change import HostChange
from fleet.ops.host_plans import Intent, plan_change
from fleet.ops.host_records import from_host, see_history
from fleet.ops.hosts import SudoPassword, on_hosts
from provisioning.errors import HostUnfit
from provisioning.hosts.many import Done
from provisioning.hosts.runner import Runner


def plan_rollback(
    fleet: Fleet,
    hosts: Sequence[Host],
    *,
    to: str | None = None,
    contents: bool = False,
    sudo_password: SudoPassword | None = None,
) -> tuple[Done[HostChange], ...]:
    """Look at each of ``hosts`` and return what must change so that it goes back, or why it does not.

    A host that has gone back already is left there, whatever it does else.
    """
    seen = on_hosts(fleet, hosts, lambda _, runner: see_history(runner), sudo_password=sudo_password)
    chosen = choose_releases({each.name: each.value for each in seen if each.value is not None}, to)

    def work(host: Host, runner: Runner) -> HostChange:
        release = chosen[host.name]
        if isinstance(release, Refusal):
            raise HostUnfit(release.reason, hint=release.hint)
        try:
            source = from_host(fleet, host.name, runner, release=release)
            return plan_change(source, runner, Intent(back=True), contents=contents)
        except FleetError as error:
            raise HostUnfit(error.message, hint=error.hint) from error

    there = [host for host in hosts if host.name in chosen]
    planned = {each.name: each for each in on_hosts(fleet, there, work, sudo_password=sudo_password)}
    return tuple(planned.get(each.name) or _lost(each) for each in seen)


def _lost(seen: Done[History]) -> Done[HostChange]:
    return Done(name=seen.name, value=None, error=seen.error, seconds=seen.seconds)
