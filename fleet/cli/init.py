"""``fleet init``: write a commented fleet file to start from."""

from pathlib import Path

import click

from fleet.cli.context import Invocation, pass_invocation, say
from fleet.errors import FleetError


@click.command("init", epilog="Example: fleet init  (writes ./fleet.toml), then: fleet config check")
@click.option("--force", is_flag=True, show_envvar=True, help="Replace a file that is there already.")
@pass_invocation
def init(invocation: Invocation, *, force: bool) -> None:
    """Write a commented fleet file to start from.

    It goes where --file points (./fleet.toml), passes `fleet config check`, and never replaces a file unless
    --force is given.
    """
    from fleet.config.starter import STARTER

    path = Path(invocation.path)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(STARTER)
    except FileExistsError:
        raise FleetError(
            f"`{path}` is there already", hint="use another --file, or replace it with --force"
        ) from None
    except OSError as error:
        raise FleetError(
            f"`{path}` cannot be written: {error.strerror}", hint=f"check `ls -ld {path.parent}`"
        ) from error
    say(f"wrote {path}; next: fleet config check")
