"""`fleet provision hosts`: make hosts match the fleet file."""

from pathlib import Path

import click

from fleet.cli.context import Invocation, json_option, pass_invocation
from fleet.cli.host_changes import carry_out, sudo_option
from fleet.cli.host_preparing import prepare, wheel_option
from fleet.cli.provision_apply import destructive_option, yes_option

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
@wheel_option
@yes_option
@destructive_option
@sudo_option
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
    background and for as long as its tasks need. So does an instance of a worker that is not to run there any
    more. What it leaves when it has ended is taken away by a later run. Exit code 0: as desired, but for
    that. 4: changes are pending (--check). 3: some hosts failed or could not be reached. 5: none could.
    """
    looked = prepare(
        inv, host, wheels=wheels, diff=diff, ask_sudo_password=ask_sudo_password, as_json=as_json
    )
    carry_out(looked, inv.environ(), reason="", check=check, yes=yes, allow_destructive=allow_destructive)
