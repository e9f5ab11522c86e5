"""`fleet provision`: make the broker match the fleet file."""

import sys
import time

import click

from fleet.cli.adopt import adopt
from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.errors import FleetError, PartlyDone, ProblemsFound, UsageError
from fleet.ops.provision import (
    BrokerPlan,
    DoorName,
    apply_plan,
    needs_provisioning,
    plan_broker,
)
from provisioning import render
from provisioning.apply import Report

REDIS = """\
nothing to provision: Redis has no vhosts, users, exchanges or queues.
What RabbitMQ would keep and Redis does not: dead-letter queues (a task that is finally refused is gone),
refusal of unroutable messages, permissions per queue, and redelivery as soon as a worker dies (with Redis
only after the visibility timeout, which must exceed the longest task)."""

EXAMPLES = """\b
examples:
  fleet provision broker --check         what would change?
  fleet provision broker --yes --json    for scripts: never asks
  fleet provision broker --door rabbitmqctl
"""


@click.group(epilog="Start with `fleet provision broker --check`.")
def provision() -> None:
    """Make the broker match the fleet file."""


provision.add_command(adopt)


@provision.command(epilog=EXAMPLES)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask before changing anything.")
@click.option("--prune", is_flag=True, show_envvar=True, help="Delete what is ours and not declared.")
@click.option(
    "--replace",
    "allow_replace",
    is_flag=True,
    show_envvar=True,
    help="Delete and create again what cannot be changed in place (empty queues only).",
)
@click.option(
    "--door",
    type=click.Choice([str(name) for name in DoorName]),
    show_envvar=True,
    help="How to reach the broker; default: the management API if the fleet file names it.",
)
@json_option
@pass_invocation
def broker(
    inv: Invocation,
    *,
    check: bool,
    yes: bool,
    prune: bool,
    allow_replace: bool,
    door: str | None,
    as_json: bool,
) -> None:
    """Create or change vhost, users, permissions, exchanges, queues, bindings and policies.

    The plan is always shown first. Nothing that is not declared is deleted without --prune, no queue or
    exchange is replaced without --replace, and a queue that holds messages is never deleted.
    Exit code 0: as desired. 4: changes are pending (--check). 3: stopped half-way.
    """
    fleet = inv.load()
    if not needs_provisioning(fleet):
        say(REDIS)
        if as_json:
            emit_json({"changed": False, "changes": [], "note": REDIS})
        return
    started = time.monotonic()
    planned = plan_broker(fleet, inv.environ(), door=DoorName(door) if door else None, prune=prune)
    _show(planned, to_stderr=as_json)
    if check:
        _finish_check(planned, as_json=as_json)
        return
    if planned.plan.changes and not yes:
        _ask(planned)
    report = apply_plan(planned, allow_replace=allow_replace)
    if as_json:
        emit_json({**_record(planned), "report": render.report_record(report)})
    if told := render.report_text(report):
        say(told)
    say(render.outcome(report, seconds=time.monotonic() - started))
    _raise_unless_converged(report)


def _show(planned: BrokerPlan, *, to_stderr: bool) -> None:
    if told := render.text(planned.plan, refusals=planned.refusals):
        click.echo(told, err=to_stderr)


def _record(planned: BrokerPlan) -> dict[str, object]:
    return {
        "door": str(planned.door_name),
        "broker_version": ".".join(map(str, planned.version)),
        **render.record(planned.plan, refusals=planned.refusals),
    }


def _finish_check(planned: BrokerPlan, *, as_json: bool) -> None:
    if as_json:
        emit_json(_record(planned))
    if planned.plan.changes:
        raise ProblemsFound(
            f"the broker is not as the fleet file wants it; {render.summary(planned.plan)}",
            hint="run `fleet provision broker` to change it",
        )
    say("no changes: the broker is as desired")


def _ask(planned: BrokerPlan) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            f"stdin is no terminal to ask on; {render.summary(planned.plan)}; nothing was changed",
            hint="add `--yes` to change without a question, or `--check` to only look",
        )
    if not click.confirm(f"make these {len(planned.plan.changes)} changes?", err=True):
        raise FleetError("not confirmed; nothing was changed")


def _raise_unless_converged(report: Report) -> None:
    if report.converged:
        return
    hint = "see the reason above; `fleet provision broker` goes on from where it stopped"
    if report.done:
        raise PartlyDone("the broker was changed, but is not as desired", hint=hint)
    raise FleetError("nothing was changed, and the broker is not as desired", hint=hint)
