"""How are changes of hosts shown, told and reported? Shared by the commands that make them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import click

from fleet.cli.context import emit_json, say
from fleet.cli.hosts import ask_password, end_with
from fleet.cli.provision_apply import ask, paint
from fleet.errors import FleetError, PartlyDone, ProblemsFound

if TYPE_CHECKING:
    from fleet.model import Fleet, Host
    from fleet.ops.host_change import HostChange
    from fleet.ops.hosts import SudoPassword
    from provisioning.apply import Report
    from provisioning.errors import ProvisioningError
    from provisioning.hosts.many import Done

sudo_option = click.option(
    "--ask-sudo-password",
    is_flag=True,
    show_envvar=True,
    help="Ask once for the password that sudo wants on the hosts.",
)


class Plan(Protocol):
    """Looks at hosts and says what must change there."""

    def __call__(
        self, fleet: "Fleet", hosts: "Sequence[Host]", /, *, sudo_password: "SudoPassword | None"
    ) -> "Sequence[Done[HostChange]]":
        """Return what must change on each of ``hosts``, or why that is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a command speaks of what it does."""

    #: what goes on from where it stopped
    command: str = "fleet provision hosts"
    #: said when there is nothing to do
    idle: str = "no changes: the hosts are as desired"
    #: a host with changes pending is
    pending: str = "not as the fleet file wants them"


PROVISION = Words()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Hosts that were looked at, and what it takes to change them."""

    fleet: "Fleet"
    planned: "Sequence[Done[HostChange]]"
    sudo_password: Callable[[], str] | None
    #: by the monotonic clock
    started: float
    with_diff: bool
    as_json: bool
    words: Words = PROVISION

    @property
    def changes(self) -> "dict[str, HostChange]":
        """What must change, by host, in their order."""
        return {each.name: each.value for each in self.planned if each.value and not each.value.is_empty}

    @property
    def pending(self) -> tuple[str, ...]:
        """The hosts that are not as they should be: there is more to do than to clear away what has ended."""
        return tuple(name for name, change in self.changes.items() if not change.only_clears)

    def confirm(self, *, yes: bool) -> None:
        """Ask whether the hosts shall be changed, unless that was said."""
        count = len(self.changes)
        if not yes:
            ask(f"change {count} of {len(self.planned)} hosts?", pending=f"{count} hosts would change")

    def finish(
        self,
        reports: "Sequence[Done[Report]]" = (),
        *,
        not_begun: Sequence[str] = (),
        besides: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    ) -> None:
        """Answer for a program (``besides``: more of a host), and raise what the command ends with."""
        if self.as_json:
            emit_json([{**each, **besides.get(str(each["host"]), {})} for each in self.records(reports)])
        if not_begun:
            say(f"not begun: {', '.join(not_begun)}")
        self.conclude(reports)

    def records(self, reports: "Sequence[Done[Report]]" = ()) -> list[dict[str, object]]:
        """Return what was planned for each host and what became of it, for a program."""
        by_name = {each.name: each for each in reports}
        return [record(each, by_name.get(each.name), with_diff=self.with_diff) for each in self.planned]

    def conclude(self, done: "Sequence[Done[Report]]" = ()) -> None:
        """Raise what the command ends with."""
        from fleet.ops.hosts import is_unreached

        reports = {each.name: each for each in done}

        errors = [each.error for each in self.planned]
        end_with([error is not None for error in errors], [is_unreached(error) for error in errors])
        failed = [name for name, each in reports.items() if each.value is None or not each.value.converged]
        if failed:
            did = len(failed) < len(reports) or any(_may_have_done(reports[name]) for name in failed)
            raise (PartlyDone if did else FleetError)(
                f"not as desired: {', '.join(failed)}",
                hint=f"see the reason above; `{self.words.command}` goes on from where it stopped",
            )
        if uncleared := [name for name, each in reports.items() if each.value and each.value.uncleared]:
            raise PartlyDone(
                f"as desired, but not cleared up: {', '.join(uncleared)}", hint="see the reason above"
            )
        if reports:
            return
        if self.pending:
            raise ProblemsFound(
                f"{len(self.pending)} of {len(self.planned)} hosts are {self.words.pending}",
                hint=f"run `{self.words.command}` to change them",
            )
        say(self.words.idle)


def look(
    load: "Callable[[], Fleet]",
    hosts: Sequence[str],
    plan: "Plan",
    words: Words,
    *,
    diff: bool = False,
    ask_sudo_password: bool,
    as_json: bool,
) -> Prepared:
    """Look at hosts of the fleet that ``load`` gives, and show what ``plan`` would change there."""
    from fleet.ops.hosts import choose

    fleet, started = load(), time.monotonic()
    chosen = choose(fleet, hosts)
    password = ask_password() if ask_sudo_password else None
    planned = plan(fleet, chosen, sudo_password=password)
    show(planned, with_diff=diff, to_stderr=as_json)
    return Prepared(
        fleet=fleet,
        planned=planned,
        sudo_password=password,
        started=started,
        with_diff=diff,
        as_json=as_json,
        words=words,
    )


def carry_out(
    looked: Prepared,
    environ: Mapping[str, str],
    *,
    reason: str,
    check: bool,
    yes: bool,
    allow_destructive: bool = False,
) -> None:
    """Ask if need be, change the hosts side by side, and report; with ``check`` report only."""
    if check or not looked.changes:
        looked.finish()
        return
    looked.confirm(yes=yes)
    looked.finish(apply_all(looked, environ, reason=reason, allow_destructive=allow_destructive))


def apply_all(
    looked: Prepared, environ: Mapping[str, str], *, reason: str, allow_destructive: bool = False
) -> "Sequence[Done[Report]]":
    """Change the hosts side by side, tell how it goes, and return how it went."""
    from fleet.ops.provision_hosts import apply_hosts, this_operator
    from fleet.ops.witness import witness

    return apply_hosts(
        looked.fleet,
        looked.changes,
        by=this_operator(environ, reason=reason),
        witness=witness(looked.fleet, environ),
        allow_destructive=allow_destructive,
        sudo_password=looked.sudo_password,
        on_done=teller(looked.started),
    )


def show(planned: "Sequence[Done[HostChange]]", *, with_diff: bool, to_stderr: bool) -> None:
    """Print the plan of each host for an operator, and why there is none."""
    from provisioning.hosts import render

    for each in planned:
        if each.value is not None:
            lines = [render.text(each.value.begin, with_diff=with_diff), *_besides(each.value)]
            click.echo(paint("\n".join(lines), to_stderr=to_stderr), err=to_stderr)
        elif each.error is not None:
            _say_error(each.name, each.error)


def _say_error(host: str, error: "ProvisioningError") -> None:
    say(f"{host}: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else ""))


def _besides(change: "HostChange") -> list[str]:
    """Return what happens on a host besides changes of single objects."""
    lines = []
    if change.install is not None:
        size = change.install.archive.stat().st_size / 1e6
        lines.append(f"  + release {change.release} for {change.install.target.name}, {size:.1f} MB")
    lines += [f"  - {unit} ends {_why(unit, change)}" for unit in change.ends]
    lines += [f"  {unit} is still ending" for unit in change.ending]
    lines += [f"  {unit} has ended, and what it left is not needed any more" for unit in change.clears]
    lines += [f"  {note}" for note in change.notes]
    return lines


def _why(unit: str, change: "HostChange") -> str:
    if unit in change.leaving:
        return "when its tasks have: its worker is not to run here any more"
    return "when the new instance is ready"


def teller(started: float) -> "Callable[[Done[Report]], None]":
    """Return what tells an operator how it went on a host; ``started`` is by the monotonic clock."""
    from provisioning.hosts import render

    def tell(done: "Done[Report]") -> None:
        if done.value is None:
            assert done.error is not None
            _say_error(done.name, done.error)
            return
        if told := render.report_text(done.name, done.value):
            say(told)
        for note in done.value.notes:
            say(f"{done.name}: {note}")
        say(render.outcome(done.name, done.value, seconds=time.monotonic() - started))
        if done.value.uncleared is not None:
            _say_error(done.name, done.value.uncleared)

    return tell


def _may_have_done(done: "Done[Report]") -> bool:
    """Tell whether some of a change may be made: it was, or the host was lost before that was known."""
    from fleet.ops.hosts import is_unreached

    report = done.value
    if report is None:
        return is_unreached(done.error)
    return bool(report.done) or report.left is None


def record(
    planned: "Done[HostChange]", report: "Done[Report] | None", *, with_diff: bool
) -> dict[str, object]:
    """Return what was planned for a host, and became of it; docs/reference/host-plan-json.md has the form."""
    from provisioning.hosts import render

    change, error = planned.value, planned.error or (report.error if report else None)
    found: dict[str, object] = {"host": planned.name, "error": error.message if error else None}
    if change is not None:
        found |= {
            **render.record(change.begin, with_diff=with_diff),
            "changed": not change.only_clears,
            "release": {"name": change.release, "installed": change.install is None},
            "ends": list(change.ends),
            "ending": list(change.ending),
            "clears": list(change.clears),
            "notes": list(change.notes),
        }
    if report is not None and report.value is not None:
        found["report"] = render.report_record(planned.name, report.value)
    return found
