"""`fleet hosts relay`: make a host match the fleet file over a connection of the program that asks."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, pass_invocation, say
from fleet.cli.provision_apply import destructive_option
from fleet.errors import FleetError, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.ops.relayed_host import Relayed

EXAMPLES = """\b
This command is for programs, such as the Ansible collection that comes with fleet. See
docs/decisions/0008-ansible.md for what is said on stdin and stdout.
"""


@click.command(epilog=EXAMPLES)
@click.argument("host")
@click.option("--check", is_flag=True, show_envvar=True, help="Tell what would change, and change nothing.")
@click.option("--diff", is_flag=True, show_envvar=True, help="Tell the changed lines of files; no secrets.")
@click.option(
    "--wheel",
    "wheels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_envvar=True,
    help="A wheel to install with the release; may be given several times.",
)
@destructive_option
@click.option("--reason", default="", show_envvar=True, help="Why, for the audit log of the host.")
@pass_invocation
def relay(
    inv: Invocation,
    *,
    host: str,
    check: bool,
    diff: bool,
    wheels: tuple[Path, ...],
    allow_destructive: bool,
    reason: str,
) -> None:
    """Do what `provision hosts` does for HOST, and let the program that started this one reach it.

    Commands for the host are asked for on stdout, one at a time, and their results read from stdin. The last
    line on stdout is {"end": …} with what `provision hosts --json` says of a host.
    """
    from fleet.ops.hosts import choose
    from fleet.ops.provision_hosts import Releases, release_cache, this_operator
    from fleet.ops.relayed_host import provision_relayed
    from provisioning.hosts.relay import RelayRunner

    if sys.stdout.isatty():
        raise UsageError(
            "this command speaks with programs, not with people", hint=f"run `fleet provision hosts {host}`"
        )
    fleet, environ, started = inv.load(), inv.environ(), time.monotonic()
    (named,) = choose(fleet, (host,))
    runner = RelayRunner(named.name, requests=sys.stdout.buffer, answers=sys.stdin.buffer)
    done = provision_relayed(
        fleet,
        runner,
        environ,
        releases=Releases(fleet=fleet, cache=release_cache(environ), wheels=wheels, report=say),
        by=this_operator(environ, reason=reason),
        check=check,
        contents=diff,
        allow_destructive=allow_destructive,
    )
    _finish(named.name, done, started=started, with_diff=diff)


def _finish(host: str, done: "Relayed", *, started: float, with_diff: bool) -> None:
    """Say the last line, tell how it went, and raise what the command ends with."""
    from fleet.cli.host_changes import record, teller
    from provisioning.hosts.many import Done

    planned = Done(name=host, value=done.change, error=done.error, seconds=0.0)
    report = Done(name=host, value=done.report, error=None, seconds=0.0) if done.report else None
    click.echo(json.dumps({"end": record(planned, report, with_diff=with_diff)}, default=str))
    if done.error is not None:
        raise done.error
    if report is not None:
        teller(started)(report)
    if done.report is not None and not done.report.converged:
        raise FleetError(f"not as desired: {host}")
    if done.report is not None and done.report.uncleared is not None:
        raise PartlyDone(f"as desired, but not cleared up: {host}", hint="see the reason above")
