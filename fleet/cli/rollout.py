"""`fleet rollout`: change hosts batch by batch, a canary first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fleet.cli.context import Invocation, json_option, pass_invocation, say
from fleet.cli.host_changes import Prepared, Words, sudo_option, teller
from fleet.cli.host_preparing import prepare, wheel_option
from fleet.cli.provision_apply import destructive_option, yes_option
from fleet.hosts.batches import BatchSize, batches

ROLLOUT = Words(command="fleet rollout")


class _Batch(click.ParamType[BatchSize]):
    name = "N|N%"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> BatchSize:
        """Return the size; fails for what is none."""
        if isinstance(value, BatchSize):
            return value
        try:
            return BatchSize.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


canary_option = click.option(
    "--canary",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    show_envvar=True,
    metavar="N",
    help="So many hosts first, one after the other.",
)
batch_option = click.option(
    "--batch",
    type=_Batch(),
    default="25%",
    show_default=True,
    show_envvar=True,
    help="So many of the others at a time, or such a share of all.",
)


@click.command(
    epilog="""\b
examples:
  fleet rollout --check                       what would change, and in which batches?
  fleet rollout                               one host first, then a quarter of them at a time
  fleet rollout @web --canary 2 --batch 5
"""
)
@click.argument("host", nargs=-1)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option("--diff", is_flag=True, show_envvar=True, help="Show the changed lines of files; no secrets.")
@canary_option
@batch_option
@wheel_option
@yes_option
@destructive_option
@sudo_option
@json_option
@pass_invocation
def rollout(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    check: bool,
    diff: bool,
    canary: int,
    batch: BatchSize,
    wheels: tuple[Path, ...],
    yes: bool,
    allow_destructive: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Do what `provision hosts` does, batch by batch, and stop at the first HOST that does not get ready.

    HOST is a name, a glob or a label such as @db; all hosts by default, in the order of the fleet file. A
    host that fails goes on with its old instances; those before it stay changed, those after it as they are.
    Hosts that cannot be reached stop a rollout before it begins. Exit code 0: as desired. 4: changes are
    pending (--check). 3: it stopped half-way. 5: no host could be reached.
    """
    looked = prepare(
        inv,
        host,
        wheels=wheels,
        diff=diff,
        ask_sudo_password=ask_sudo_password,
        as_json=as_json,
        words=ROLLOUT,
    )
    order = batches(tuple(looked.changes), canary=canary, size=batch)
    roll(
        looked,
        order,
        inv.environ(),
        reason="rollout",
        check=check,
        yes=yes,
        allow_destructive=allow_destructive,
    )


def roll(
    looked: Prepared,
    order: Sequence[Sequence[str]],
    environ: Mapping[str, str],
    *,
    reason: str,
    check: bool,
    yes: bool,
    allow_destructive: bool = False,
) -> None:
    """Tell the order, ask, change one batch of hosts after the other, and tell how it went.

    With ``check``, or where a host could not be looked at, nothing is changed.
    """
    from fleet.ops.provision_hosts import this_operator
    from fleet.ops.rollout import roll_out
    from fleet.ops.witness import witness

    if order:
        say("in this order: " + ", then ".join(" and ".join(names) for names in order))
    if check or not order or any(each.error for each in looked.planned):
        looked.finish(not_begun=() if check else tuple(looked.changes))
        return
    looked.confirm(yes=yes)
    rolled = roll_out(
        looked.fleet,
        looked.changes,
        order,
        by=this_operator(environ, reason=reason),
        witness=witness(looked.fleet, environ),
        allow_destructive=allow_destructive,
        sudo_password=looked.sudo_password,
        on_batch=lambda names: say(f"now {', '.join(names)}"),
        on_done=teller(looked.started),
    )
    looked.finish(rolled.done, not_begun=rolled.not_begun)
