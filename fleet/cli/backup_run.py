"""``fleet backup run``: run a backup now."""

import click

from fleet.cli.context import Invocation, pass_invocation
from fleet.cli.sending import Waiting, send_and_report, sending_options


@click.command(
    epilog="""\b
Examples:
  fleet backup run etc
  fleet backup run etc --host 'db-*' --host @staging --wait --timeout 2h"""
)
@click.argument("name")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="PATTERN",
    show_envvar=True,
    help="Only these of the backup's hosts: a name, a glob, or @LABEL; repeatable.",
)
@sending_options
@pass_invocation
def run(invocation: Invocation, *, name: str, hosts: tuple[str, ...], waiting: Waiting) -> None:
    """Run backup NAME now on its hosts, and print the tasks' ids."""
    send_and_report(invocation, waiting, lambda client: client.backup(name, hosts))
