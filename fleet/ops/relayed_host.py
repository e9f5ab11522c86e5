"""How is one host made to match the fleet file over a connection that is somebody else's?"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet.hosts.material import gather
from fleet.model import Fleet
from fleet.ops.host_change import HostChange
from fleet.ops.provision_hosts import Releases, apply_host, plan_one
from provisioning.apply import Report
from provisioning.errors import ProvisioningError
from provisioning.hosts.door import Operator
from provisioning.hosts.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """What had to change on a host, and what became of it."""

    change: HostChange | None = None
    #: None where nothing had to be done, or nothing was to be changed
    report: Report | None = None
    error: ProvisioningError | None = None


def provision_relayed(
    fleet: Fleet,
    runner: Runner,
    environ: Mapping[str, str],
    *,
    releases: Releases,
    by: Operator,
    check: bool,
    contents: bool = False,
    allow_destructive: bool = False,
) -> Relayed:
    """Bring the host that ``runner`` is named after to what the fleet file says; with ``check`` only look.

    What ended instances have left goes along with a change, and is none by itself: who asks would find a
    changed host after each rollout, some time later.
    Raises SecretMissing or UsageError before the host is asked, when this machine lacks what it needs.
    """
    material = gather(fleet, runner.name, environ=environ)
    change = None
    try:
        change = plan_one(fleet, runner, material, releases=releases, contents=contents)
        if change.only_clears:
            return Relayed(change=change.put_off())
        if check:
            return Relayed(change=change)
        report = apply_host(change, runner, by=by, allow_destructive=allow_destructive)
        return Relayed(change=change, report=report)
    except ProvisioningError as error:
        return Relayed(change=change, error=error)
