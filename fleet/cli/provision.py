"""`fleet provision`: make the broker and the hosts match the fleet file."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.adopt import adopt
from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.provision_all import provision
from fleet.cli.provision_apply import carry_out, close_option, destructive_option, record, show, yes_option
from fleet.cli.provision_hosts import hosts
from fleet.cli.provision_plan import apply, write_plan
from fleet.cli.provision_script import write_script
from fleet.errors import ProblemsFound, UsageError

if TYPE_CHECKING:
    from fleet.ops.provision import BrokerPlan

REDIS = """\
nothing to provision: Redis has no vhosts, users, exchanges or queues.
What RabbitMQ would keep and Redis does not: dead-letter queues (a task that is finally refused is gone),
refusal of unroutable messages, permissions per queue, and redelivery as soon as a worker dies (with Redis
only after the visibility timeout, which must exceed the longest task)."""

EXAMPLES = """\b
examples:
  fleet provision broker --check                   what would change?
  fleet provision broker --check --out plan.json   for `fleet provision apply plan.json`
  fleet provision broker --check --script make.sh  for sites that change brokers by hand
  fleet provision broker --yes --json              for scripts: never asks
  fleet provision broker --door rabbitmqctl
"""


provision.add_command(apply)
provision.add_command(adopt)
provision.add_command(hosts)


@provision.command(epilog=EXAMPLES)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="With --check: write the plan there, for `fleet provision apply`.",
)
@click.option(
    "--script",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="With --check: write a shell script of rabbitmqctl lines that makes the changes; without secrets.",
)
@yes_option
@click.option("--prune", is_flag=True, show_envvar=True, help="Delete what is ours and not declared.")
@destructive_option
@close_option
@click.option(
    "--door",
    type=click.Choice(["http", "rabbitmqctl"]),
    show_envvar=True,
    help="How to reach the broker; default: the management API if the fleet file names it.",
)
@json_option
@pass_invocation
def broker(
    inv: Invocation,
    *,
    check: bool,
    out: Path | None,
    script: Path | None,
    yes: bool,
    prune: bool,
    allow_destructive: bool,
    close_connections: bool,
    door: str | None,
    as_json: bool,
) -> None:
    """Create or change vhost, users, permissions, exchanges, queues, bindings and policies.

    The plan is always shown first. Nothing undeclared is deleted without --prune, nothing that loses data or
    access is done without --allow-destructive, and a queue that holds messages is never deleted.
    Exit code 0: as desired. 4: changes are pending (--check). 3: stopped half-way.
    """
    from fleet.ops.provision import DoorName, needs_provisioning, plan_broker

    _require_check(check=check, writes=bool(out or script))
    fleet = inv.load()
    if not needs_provisioning(fleet):
        _say_nothing_to_do(as_json=as_json)
        return
    started, wanted = time.monotonic(), DoorName(door) if door else None
    planned = plan_broker(fleet, inv.environ(), door=wanted, prune=prune)
    show(planned, to_stderr=as_json)
    if out:
        write_plan(planned, out, source=fleet.source)
    if script:
        write_script(planned, script, source=fleet.source, allow_destructive=allow_destructive)
    if check:
        _finish_check(planned, as_json=as_json)
        return
    allowed = {"allow_destructive": allow_destructive, "close_connections": close_connections}
    carry_out(planned, started=started, yes=yes, as_json=as_json, **allowed)


def _require_check(*, check: bool, writes: bool) -> None:
    if writes and not check:
        raise UsageError("`--out` and `--script` only look; nothing was changed", hint="add `--check`")


def _say_nothing_to_do(*, as_json: bool) -> None:
    say(REDIS)
    if as_json:
        emit_json({"changed": False, "changes": [], "note": REDIS})


def _finish_check(planned: "BrokerPlan", *, as_json: bool) -> None:
    from provisioning import render

    if as_json:
        emit_json(record(planned))
    if planned.plan.changes:
        raise ProblemsFound(
            f"the broker is not as the fleet file wants it; {render.summary(planned.plan)}",
            hint="run `fleet provision broker` to change it",
        )
    say("no changes: the broker is as desired")
