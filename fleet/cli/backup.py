"""``fleet backup``: run, list and restore backups."""

import click

from fleet.cli.backup_restore import restore
from fleet.cli.backup_run import run
from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say


@click.group(epilog="Start with `fleet backup list`.")
def backup() -> None:
    """Run, list and restore backups."""


@click.command(
    "list",
    epilog="""\b
Examples:
  fleet backup list
  fleet backup list etc --host 'web-*'
  fleet backup list --json""",
)
@click.argument("name", required=False)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="PATTERN",
    show_envvar=True,
    help="Only these hosts: a name, a glob, or @LABEL; repeatable.",
)
@json_option
@pass_invocation
def list_command(invocation: Invocation, *, name: str | None, hosts: tuple[str, ...], as_json: bool) -> None:
    """List the snapshots and mirrors on this machine's disks, of backup NAME or of all.

    What cannot be restored from is not listed. The last attempts come from this machine's ledger.
    """
    from rich.filesize import decimal

    from fleet.ops.backups import list_backups

    listing = list_backups(invocation.load(), name=name, hosts=hosts)
    if as_json:
        emit_json(listing)
        return
    columns = ("backup", "host", "snapshot", "outcome", "files", "size", "took")
    emit_table(
        columns,
        [
            (
                copy.backup,
                copy.host,
                copy.snapshot,
                copy.outcome,
                str(copy.files),
                decimal(copy.bytes),
                f"{copy.duration_seconds:.1f} s",
            )
            for copy in listing.copies
        ],
    )
    if not listing.copies:
        say("no copies on this machine")
    for attempt in listing.attempts:
        if not attempt.ok:
            say(f"the last {attempt.kind} `{attempt.name}` of `{attempt.host}` failed: {attempt.detail}")
    if listing.attempts_unknown:
        say(f"last attempts unknown: {listing.attempts_unknown}")


for command in (run, list_command, restore):
    backup.add_command(command)
