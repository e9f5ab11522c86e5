"""`fleet provision hosts`: make hosts match the fleet file."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.hosts import ask_password, end_with
from fleet.cli.provision_apply import ask, destructive_option, paint, yes_option
from fleet.errors import FleetError, PartlyDone, ProblemsFound

if TYPE_CHECKING:
    from fleet.ops.host_plans import HostChange
    from provisioning.apply import Report
    from provisioning.hosts.many import Done

EXAMPLES = """\b
examples:
  fleet provision hosts --check --diff      what would change, in which lines of which files?
  fleet provision hosts alpha               one host first
  fleet provision hosts --yes --json        for scripts: never asks
  fleet provision hosts --wheel shop.whl    what the operator's tasks need comes along
"""


@click.command(epilog=EXAMPLES)
@click.argument("host", nargs=-1)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option("--diff", is_flag=True, show_envvar=True, help="Show the changed lines of files; no secrets.")
@click.option(
    "--wheel",
    "wheels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_envvar=True,
    help="A wheel to install with the release; may be given several times.",
)
@yes_option
@destructive_option
@click.option(
    "--ask-sudo-password",
    is_flag=True,
    show_envvar=True,
    help="Ask once for the password that sudo wants on the hosts.",
)
@json_option
@pass_invocation
def hosts(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    check: bool,
    diff: bool,
    wheels: tuple[Path, ...],
    yes: bool,
    allow_destructive: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Put release, configuration, credentials and units on each HOST, and run its workers.

    HOST is a name, a glob or a label such as @db; all hosts by default. The plan is always shown first. A
    worker that has to start anew starts beside the old instance, which ends when the new one is ready, in the
    background and for as long as its tasks need. Exit code 0: as desired. 4: changes are pending (--check).
    3: some hosts failed or could not be reached. 5: none could.
    """
    from fleet.ops.hosts import choose
    from fleet.ops.provision_hosts import Releases, apply_hosts, plan_hosts, release_cache, this_operator

    fleet, environ, started = inv.load(), inv.environ(), time.monotonic()
    chosen = choose(fleet, host)
    password = ask_password() if ask_sudo_password else None
    releases = Releases(fleet=fleet, cache=release_cache(environ), wheels=wheels, report=say)
    planned = plan_hosts(fleet, chosen, environ, releases=releases, contents=diff, sudo_password=password)
    _show(planned, with_diff=diff, to_stderr=as_json)
    changes = {each.name: each.value for each in planned if each.value and not each.value.is_empty}
    if check or not changes:
        _finish(planned, {}, as_json=as_json, with_diff=diff)
        return
    if not yes:
        ask(f"change {len(changes)} of {len(chosen)} hosts?", pending=f"{len(changes)} hosts would change")
    reports = apply_hosts(
        fleet,
        changes,
        by=this_operator(environ),
        allow_destructive=allow_destructive,
        sudo_password=password,
        on_done=_teller(started),
    )
    _finish(planned, {each.name: each for each in reports}, as_json=as_json, with_diff=diff)


def _show(planned: "Sequence[Done[HostChange]]", *, with_diff: bool, to_stderr: bool) -> None:
    from provisioning.hosts import render

    for each in planned:
        if each.value is not None:
            lines = [render.text(each.value.begin, with_diff=with_diff), *_besides(each.value)]
            click.echo(paint("\n".join(lines), to_stderr=to_stderr), err=to_stderr)
        elif each.error is not None:
            say(
                f"{each.name}: {each.error.message}"
                + (f"\n  hint: {each.error.hint}" if each.error.hint else "")
            )


def _besides(change: "HostChange") -> list[str]:
    """Return what happens on a host besides changes of single objects."""
    lines = []
    if not change.is_installed:
        size = change.release.archive.stat().st_size / 1e6
        lines.append(f"  + release {change.release.name} for {change.release.target.name}, {size:.1f} MB")
    lines += [f"  - {unit} ends when the new instance is ready" for unit in change.ends]
    lines += [f"  {unit} is still ending" for unit in change.ending]
    return lines


def _teller(started: float) -> "Callable[[Done[Report]], None]":
    from provisioning.hosts import render

    def tell(done: "Done[Report]") -> None:
        if done.value is None:
            assert done.error is not None
            say(
                f"{done.name}: {done.error.message}"
                + (f"\n  hint: {done.error.hint}" if done.error.hint else "")
            )
            return
        if told := render.report_text(done.name, done.value):
            say(told)
        for note in done.value.notes:
            say(f"{done.name}: {note}")
        say(render.outcome(done.name, done.value, seconds=time.monotonic() - started))

    return tell


def _finish(
    planned: "Sequence[Done[HostChange]]",
    reports: "dict[str, Done[Report]]",
    *,
    as_json: bool,
    with_diff: bool,
) -> None:
    """Answer for a program, and raise what the command ends with."""
    from fleet.ops.hosts import is_unreached

    if as_json:
        emit_json([_record(each, reports.get(each.name), with_diff=with_diff) for each in planned])
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
