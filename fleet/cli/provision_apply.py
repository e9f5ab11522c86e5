"""How is a broker plan shown, asked about, carried out and reported? Shared by the commands that do it."""

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from fleet.cli.context import emit_json, say
from fleet.errors import FleetError, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.ops.provision import BrokerPlan
    from provisioning.apply import Report

#: colour of a line by its first character, on a terminal that may have colours
COLOURS = {"+": "green", "~": "yellow", "!": "magenta", "-": "red", "?": "cyan"}

yes_option = click.option(
    "--yes", is_flag=True, show_envvar=True, help="Do not ask before changing anything."
)
destructive_option = click.option(
    "--allow-destructive",
    is_flag=True,
    show_envvar=True,
    help="Make changes that lose data or somebody's access, too; a queue that holds messages or has"
    " consumers is never deleted.",
)
close_option = click.option(
    "--close-connections",
    is_flag=True,
    show_envvar=True,
    help="Afterwards end the connections that keep rights which were taken away.",
)


def show(planned: "BrokerPlan", *, to_stderr: bool) -> None:
    """Print the plan for an operator."""
    from provisioning import render

    told = render.text(planned.plan, refusals=planned.refusals, notes=planned.notes)
    if not told:
        return
    click.echo(paint(told, to_stderr=to_stderr), err=to_stderr)


def paint(told: str, *, to_stderr: bool) -> str:
    """Return the lines of a plan with colours, if they go to a terminal that may have them."""
    stream = sys.stderr if to_stderr else sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return told
    return "\n".join(click.style(line, fg=COLOURS.get(line.lstrip()[:1])) for line in told.splitlines())


def record(planned: "BrokerPlan") -> dict[str, object]:
    """Return the plan for a program."""
    from fleet.ops.provision import version_text
    from provisioning import render

    return {
        "door": str(planned.door_name),
        "broker_version": version_text(planned),
        **render.record(planned.plan, refusals=planned.refusals, notes=planned.notes),
    }


def carry_out(
    planned: "BrokerPlan",
    *,
    started: float,
    yes: bool,
    as_json: bool,
    allow_destructive: bool,
    close_connections: bool,
) -> None:
    """Ask if need be, change the broker and report.

    Raises PartlyDone or FleetError when the broker is not as desired afterwards.
    """
    from fleet.ops.provision import apply_plan
    from provisioning import render

    if planned.plan.changes and not yes:
        ask(f"make these {len(planned.plan.changes)} changes?", pending=render.summary(planned.plan))
    report = apply_plan(planned, allow_destructive=allow_destructive, close_connections=close_connections)
    if as_json:
        emit_json({**record(planned), "report": render.report_record(report)})
    tell(report, started=started)
    raise_unless_converged(report)


def tell(report: "Report", *, started: float) -> None:
    """Tell an operator what became of a plan; ``started`` is by the monotonic clock."""
    from provisioning import render

    if told := render.report_text(report):
        say(told)
    say(render.outcome(report, seconds=time.monotonic() - started))


def ask(question: str, *, pending: str) -> None:
    """Return when the operator confirms. Raises UsageError without a terminal, FleetError for a no."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"stdin is no terminal to ask on; {pending}; nothing was changed",
            hint="add `--yes` to change without a question, or `--check` to only look",
        )
    if not click.confirm(question, err=True):
        raise FleetError("not confirmed; nothing was changed")


def raise_unless_converged(report: "Report") -> None:
    """Raise PartlyDone or FleetError when the broker is not as desired."""
    if report.converged:
        return
    hint = "see the reason above; `fleet provision broker` goes on from where it stopped"
    if report.untouched:
        raise FleetError("nothing was changed, and the broker is not as desired", hint=hint)
    changed = "was changed, but" if report.done else "may have been changed, and"
    raise PartlyDone(f"the broker {changed} is not as desired", hint=hint)
