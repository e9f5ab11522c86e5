"""`fleet rollback`: hosts go back to the release that ran before."""

from functools import partial

import click

from fleet.cli.context import Invocation, json_option, pass_invocation
from fleet.cli.host_changes import Words, carry_out, look, sudo_option
from fleet.cli.provision_apply import yes_option

WORDS = Words(
    command="fleet rollback", idle="no changes: the hosts have gone back", pending="still to go back"
)


@click.command(
    epilog="""\b
examples:
  fleet rollback --check
  fleet rollback
  fleet rollback alpha --to 1.4.0-5d705209dda3
"""
)
@click.argument("host", nargs=-1)
@click.option("--to", metavar="RELEASE", show_envvar=True, help="Back to this one; it must be on the host.")
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@click.option("--diff", is_flag=True, show_envvar=True, help="Show the changed lines of files; no secrets.")
@yes_option
@sudo_option
@json_option
@pass_invocation
def rollback(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    to: str | None,
    check: bool,
    diff: bool,
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Bring the release that ran before back on each HOST, with the configuration that it ran with.

    HOST is a name, a glob or a label such as @db; all hosts by default. Its workers start beside those that
    run, which end when they are ready. Passwords, keys and certificates stay those of today. A host that has
    gone back already stays there, and so does one that a rollout never came to. The fleet file is not
    changed: `fleet provision hosts --check` then shows what it wants. Exit code 0: done. 1: there is no such
    release. 4: changes are pending (--check). 3: some hosts failed or could not be reached. 5: none could.
    """
    from fleet.ops.rollback import plan_rollback

    looked = look(
        inv.load,
        host,
        partial(plan_rollback, to=to, contents=diff),
        WORDS,
        diff=diff,
        ask_sudo_password=ask_sudo_password,
        as_json=as_json,
    )
    carry_out(looked, inv.environ(), reason="rollback", check=check, yes=yes)
