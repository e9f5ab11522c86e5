"""`fleet provision`: the broker and the hosts together, in the order in which nothing is missed."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.host_changes import Prepared, apply_all, sudo_option
from fleet.cli.host_preparing import prepare, wheel_option
from fleet.cli.provision_apply import (
    ask,
    destructive_option,
    raise_unless_converged,
    record,
    show,
    tell,
    yes_option,
)
from fleet.errors import PartlyDone, ProblemsFound, UsageError
from provisioning import render

if TYPE_CHECKING:
    from fleet.ops.provision import BrokerPlan
    from provisioning.apply import Report

EXAMPLES = """\b
examples:
  fleet provision --check          does anything differ, in the broker or on a host?
  fleet provision                  both, after a question
  fleet provision broker --check   the broker alone
"""


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option("--diff", is_flag=True, show_envvar=True, help="Show the changed lines of files; no secrets.")
@click.option(
    "--prune",
    is_flag=True,
    show_envvar=True,
    help="Delete of the broker's what is ours and not declared, after the hosts have changed.",
)
@wheel_option
@yes_option
@destructive_option
@sudo_option
@json_option
@pass_invocation
@click.pass_context
def provision(
    context: click.Context,
    inv: Invocation,
    *,
    check: bool,
    diff: bool,
    prune: bool,
    wheels: tuple[Path, ...],
    yes: bool,
    allow_destructive: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Make the broker and the hosts match the fleet file; without a command, both.

    The broker comes first, for a worker that starts needs its queues and its user. Hosts that would need a
    broker that is not as desired are not begun. What --prune deletes goes last, when no worker uses it any
    more. Exit code 0: as desired. 4: changes are pending (--check). 3: stopped half-way, or a queue that is
    to go is still used. 5: the broker, or every host, is away.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
        return
    started = time.monotonic()
    whole = _Whole(
        broker=_plan(inv, prune=prune and check, as_json=as_json),
        hosts=prepare(
            inv, (), wheels=wheels, diff=diff, ask_sudo_password=ask_sudo_password, as_json=as_json
        ),
        as_json=as_json,
    )
    if check:
        whole.finish_check()
        return
    if whole.count and not yes:
        ask(f"make these {whole.count} changes?", pending=f"{whole.count} changes are pending")
    whole.carry_out(inv, started=started, allow_destructive=allow_destructive)
    if prune:
        _prune(inv, started=started, yes=yes, as_json=as_json, allow_destructive=allow_destructive)


def _refuse_options(context: click.Context, command: str) -> None:
    """Refuse options in front of a command: one that only looks must not be lost on one that changes."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = next(each.opts[0] for each in context.command.params if each.name == name)
            raise UsageError(
                f"`{option}` stands before `{command}`, and is not meant for it; nothing was changed",
                hint=f"put it behind: `fleet provision {command} …`",
            )


@dataclass(slots=True, kw_only=True)
class _Whole:
    """The plans of the broker and of the hosts, and what becomes of them."""

    #: None for a fleet on Redis
    broker: "BrokerPlan | None"
    hosts: Prepared
    as_json: bool
    _told: dict[str, object] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many changes are planned."""
        ours = len(self.broker.plan.changes) if self.broker else 0
        return ours + sum(len(each.begin.changes) for each in self.hosts.changes.values())

    def finish_check(self) -> None:
        """Answer, and raise what a look ends with."""
        self._answer(None)
        if self.broker is None or not self.broker.plan.changes:
            self.hosts.conclude()
            return
        raise ProblemsFound(
            f"the broker is not as the fleet file wants it; {render.summary(self.broker.plan)};"
            f" {len(self.hosts.pending)} of {len(self.hosts.planned)} hosts are not either",
            hint="run `fleet provision` to change them",
        )

    def carry_out(self, inv: Invocation, *, started: float, allow_destructive: bool) -> None:
        """Change the broker, then the hosts; raise what it ends with."""
        from fleet.ops.provision import apply_plan

        report = None
        if self.broker is not None:
            report = apply_plan(self.broker, allow_destructive=allow_destructive)
            tell(report, started=started)
            if not report.converged:
                say(f"not begun: {', '.join(self.hosts.changes) or 'no host'}")
                self._answer(report)
                raise_unless_converged(report)
        reports = apply_all(self.hosts, inv.environ(), reason="", allow_destructive=allow_destructive)
        self._told["hosts"] = self.hosts.records(reports)
        self._answer(report)
        self.hosts.conclude(reports)

    def _answer(self, report: "Report | None") -> None:
        if not self.as_json:
            return
        told = record(self.broker) if self.broker else None
        if told is not None and report is not None:
            told["report"] = render.report_record(report)
        emit_json({"broker": told, "hosts": self._told.get("hosts", self.hosts.records())})


def _plan(inv: Invocation, *, prune: bool, as_json: bool) -> "BrokerPlan | None":
    from fleet.ops.provision import needs_provisioning, plan_broker

    fleet = inv.load()
    if not needs_provisioning(fleet):
        say("the broker is Redis, which has nothing to provision")
        return None
    planned = plan_broker(fleet, inv.environ(), prune=prune)
    show(planned, to_stderr=as_json)
    return planned


def _prune(inv: Invocation, *, started: float, yes: bool, as_json: bool, allow_destructive: bool) -> None:
    """Delete what is not declared any more, now that no worker needs it."""
    from fleet.ops.provision import apply_plan
    from provisioning.errors import QueueInUse

    planned = _plan(inv, prune=True, as_json=as_json)
    if planned is None or not planned.plan.changes:
        return
    if not yes:
        ask("delete these?", pending=render.summary(planned.plan))
    try:
        report = apply_plan(planned, allow_destructive=allow_destructive)
    except QueueInUse as error:
        # Broker and hosts have changed, and what has left the fleet file may still be at its tasks.
        raise PartlyDone(
            f"not deleted from the broker: {error.message}",
            hint="run it again when the workers that leave have ended; `fleet provision hosts --check` tells",
        ) from error
    tell(report, started=started)
    raise_unless_converged(report)
