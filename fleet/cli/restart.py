"""`fleet restart --rolling`: every worker starts anew, batch by batch."""

import click

from fleet.cli.context import Invocation, json_option, pass_invocation
from fleet.cli.host_changes import Words, look, sudo_option
from fleet.cli.provision_apply import yes_option
from fleet.cli.rollout import batch_option, canary_option, roll
from fleet.errors import UsageError
from fleet.hosts.batches import BatchSize, batches

WORDS = Words(command="fleet restart --rolling", idle="nothing to restart", pending="to be restarted")


@click.command(
    epilog="""\b
examples:
  fleet restart --rolling
  fleet restart --rolling @web --canary 2 --batch 5
"""
)
@click.argument("host", nargs=-1)
@click.option(
    "--rolling", is_flag=True, show_envvar=True, help="Beside the old instances, batch by batch; required."
)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would start, and start nothing.")
@canary_option
@batch_option
@yes_option
@sudo_option
@json_option
@pass_invocation
def restart(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    rolling: bool,
    check: bool,
    canary: int,
    batch: BatchSize,
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Start every worker of each HOST anew in its other slot; the old instance ends when that is ready.

    HOST is a name, a glob or a label such as @db; all hosts by default. Release, configuration and
    credentials stay those of the host. A drained host is left at rest, and so is beat. Exit code 0: done. 4:
    with --check. 3: it stopped half-way. 5: no host could be reached.
    """
    from fleet.ops.restart import plan_restart

    if not rolling:
        raise UsageError(
            "there is no other way to restart than a rolling one", hint="say `fleet restart --rolling`"
        )
    looked = look(inv.load, host, plan_restart, WORDS, ask_sudo_password=ask_sudo_password, as_json=as_json)
    order = batches(tuple(looked.changes), canary=canary, size=batch)
    roll(looked, order, inv.environ(), reason="restart", check=check, yes=yes)
