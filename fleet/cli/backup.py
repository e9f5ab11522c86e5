"""`fleet backup`: run, list and restore backups."""

from importlib import import_module
from importlib.util import find_spec

import click


@click.group(epilog="Start with `fleet backup list`.")
def backup() -> None:
    """Run, list and restore backups."""


if find_spec("fleet.cli.backup_run") is not None:
    backup.add_command(import_module("fleet.cli.backup_run").run)
