"""`fleet provision hosts`: make hosts match the fleet file."""

import time
from pathlib import Path

import click

from fleet.cli.context import Invocation, json_option, pass_invocation, say
from fleet.cli.host_changes import finish, show, sudo_option, teller, wheel_option
from fleet.cli.hosts import ask_password
from fleet.cli.provision_apply import ask, destructive_option, yes_option

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
    show(planned, with_diff=diff, to_stderr=as_json)
    changes = {each.name: each.value for each in planned if each.value and not each.value.is_empty}
    if check or not changes:
        finish(planned, {}, as_json=as_json, with_diff=diff)
        return
    if not yes:
        ask(f"change {len(changes)} of {len(chosen)} hosts?", pending=f"{len(changes)} hosts would change")
    reports = apply_hosts(
        fleet,
        changes,
        by=this_operator(environ),
        allow_destructive=allow_destructive,
        sudo_password=password,
        on_done=teller(started),
    )
    finish(planned, {each.name: each for each in reports}, as_json=as_json, with_diff=diff)
