"""Are the hosts of a fleet fit for what it has them do?"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from fleet.doctor.finding import Finding, Level
from fleet.doctor.host import Needs, examine, refused, unreached
from fleet.model import Fleet, Host
from fleet.ops.hosts import SudoPassword, is_drained, is_unreached, on_hosts
from provisioning.errors import HostAccessRefused
from provisioning.hosts.facts import Root, gather
from provisioning.hosts.many import Done
from provisioning.hosts.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A host and what can be said of it."""

    name: str
    is_reached: bool
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst of its findings."""
        order = (Level.FAIL, Level.UNKNOWN, Level.WARN, Level.OK)
        return min((finding.level for finding in self.findings), key=order.index, default=Level.OK)


def check_hosts(
    fleet: Fleet, hosts: Sequence[Host], *, sudo_password: SudoPassword | None = None
) -> tuple[Checked, ...]:
    """Return whether each of ``hosts`` is fit for what the fleet has it do."""

    def work(host: Host, runner: Runner) -> tuple[Finding, ...]:
        facts = gather(runner, state_dir=fleet.state_dir)
        with_password = None
        if facts.root is Root.ASKED and sudo_password is not None:
            with_password = _becomes_root(runner)
        backs_up = any(fleet.hosts_for(backup.hosts).count(host) for backup in fleet.backups)
        drained = is_drained(runner)
        needs = Needs(
            state_dir=fleet.state_dir,
            rsync=backs_up,
            root_with_password=with_password,
            drained=drained.told if drained else None,
        )
        return examine(facts, needs)

    return tuple(_checked(done) for done in on_hosts(fleet, hosts, work, sudo_password=sudo_password))


def _becomes_root(runner: Runner) -> bool:
    with suppress(HostAccessRefused):
        return runner.run(("true",), as_root=True).exit_code == 0
    return False


def _checked(done: "Done[tuple[Finding, ...]]") -> Checked:
    if done.error is None:
        return Checked(name=done.name, is_reached=True, findings=done.value or ())
    say = unreached if is_unreached(done.error) else refused
    return Checked(
        name=done.name,
        is_reached=not is_unreached(done.error),
        findings=(say(done.error.message, done.error.hint),),
    )
