"""`fleet restart --rolling`: every worker starts anew, batch by batch."""

import time

import click

from fleet.cli.context import Invocation, json_option, pass_invocation
from fleet.cli.host_changes import Prepared, show, sudo_option
from fleet.cli.hosts import ask_password
from fleet.cli.provision_apply import yes_option
from fleet.cli.rollout import batch_option, canary_option, in_order, roll
from fleet.errors import UsageError
from fleet.hosts.batches import BatchSize


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
    from fleet.ops.hosts import choose
    from fleet.ops.restart import plan_restart

    if not rolling:
        raise UsageError(
            "there is no other way to restart than a rolling one", hint="say `fleet restart --rolling`"
        )
    fleet, started = inv.load(), time.monotonic()
    password = ask_password() if ask_sudo_password else None
    planned = plan_restart(fleet, choose(fleet, host), sudo_password=password)
    show(planned, with_diff=False, to_stderr=as_json)
    looked = Prepared(
        fleet=fleet,
        planned=planned,
        sudo_password=password,
        started=started,
        with_diff=False,
        as_json=as_json,
        command="fleet restart --rolling",
        idle="nothing to restart",
        pending="to be restarted",
    )
    order = in_order(looked, canary=canary, batch=batch)
    if check or not order or any(each.error for each in planned):
        looked.finish(not_begun=() if check else tuple(looked.changes))
        return
    looked.confirm(yes=yes)
    roll(looked, order, inv.environ(), reason="restart")
