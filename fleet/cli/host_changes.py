"""How are changes of hosts shown, told and reported? Shared by the commands that make them."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import emit_json, say
from fleet.cli.hosts import end_with
from fleet.cli.provision_apply import paint
from fleet.errors import FleetError, PartlyDone, ProblemsFound

if TYPE_CHECKING:
    from fleet.ops.host_plans import HostChange
    from provisioning.apply import Report
    from provisioning.errors import ProvisioningError
    from provisioning.hosts.many import Done

wheel_option = click.option(
    "--wheel",
    "wheels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_envvar=True,
    help="A wheel to install with the release; may be given several times.",
)
sudo_option = click.option(
    "--ask-sudo-password",
    is_flag=True,
    show_envvar=True,
    help="Ask once for the password that sudo wants on the hosts.",
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
    if not change.is_installed:
        size = change.release.archive.stat().st_size / 1e6
        lines.append(f"  + release {change.release.name} for {change.release.target.name}, {size:.1f} MB")
    lines += [f"  - {unit} ends when the new instance is ready" for unit in change.ends]
    lines += [f"  {unit} is still ending" for unit in change.ending]
    return lines


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

    return tell


def finish(
    planned: "Sequence[Done[HostChange]]",
    reports: "Mapping[str, Done[Report]]",
    *,
    as_json: bool,
    with_diff: bool,
    not_begun: Sequence[str] = (),
) -> None:
    """Answer for a program, and raise what the command ends with."""
    from fleet.ops.hosts import is_unreached

    if as_json:
        emit_json([_record(each, reports.get(each.name), with_diff=with_diff) for each in planned])
    if not_begun:
        say(f"not begun: {', '.join(not_begun)}")
    end_with([each.error is not None for each in planned], [is_unreached(each.error) for each in planned])
    failed = [name for name, each in reports.items() if each.value is None or not each.value.converged]
    if failed:
        kind = (
            PartlyDone
            if len(failed) < len(reports) or any(_did(reports[name]) for name in failed)
            else FleetError
        )
        raise kind(
            f"not as desired: {', '.join(failed)}",
            hint="see the reason above; `fleet provision hosts` goes on from where it stopped",
        )
    pending = [each.name for each in planned if each.value and not each.value.is_empty]
    if pending and not reports:
        raise ProblemsFound(
            f"{len(pending)} of {len(planned)} hosts are not as the fleet file wants them",
            hint="run `fleet provision hosts` to change them",
        )
    if not pending:
        say("no changes: the hosts are as desired")


def _did(done: "Done[Report]") -> bool:
    return done.value is not None and bool(done.value.done)


def _record(
    planned: "Done[HostChange]", report: "Done[Report] | None", *, with_diff: bool
) -> dict[str, object]:
    from provisioning.hosts import render

    change, error = planned.value, planned.error or (report.error if report else None)
    found: dict[str, object] = {"host": planned.name, "error": error.message if error else None}
    if change is not None:
        found |= {
            **render.record(change.begin, with_diff=with_diff),
            "changed": not change.is_empty,
            "release": {"name": change.release.name, "installed": change.is_installed},
            "ends": list(change.ends),
            "ending": list(change.ending),
        }
    if report is not None and report.value is not None:
        found["report"] = render.report_record(planned.name, report.value)
    return found
