"""``fleet init``: write a commented fleet file to start from."""

from pathlib import Path

import click

from fleet.cli.context import Invocation, pass_invocation, say
from fleet.errors import FleetError


@click.command(
    "init",
    epilog="""\b
Examples:
  fleet init                       writes ./fleet.toml; then: fleet config check
  fleet init /etc/fleet/fleet.toml
""",
)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, show_envvar=True, help="Replace a file that is there already.")
@pass_invocation
def init(invocation: Invocation, *, path: Path | None, force: bool) -> None:
    """Write a commented fleet file to start from.

    It goes to PATH, or where --file points (./fleet.toml), passes `fleet config check`, holds no secret, and
    never replaces a file unless --force is given.
    """
    from fleet.config.starter import STARTER

    target = path or Path(invocation.path)
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(STARTER)
    except FileExistsError:
        raise FleetError(
            f"`{target}` is there already", hint="name another path, or replace it with --force"
        ) from None
    except OSError as error:
        raise FleetError(
            f"`{target}` cannot be written: {error.strerror}", hint=f"check `ls -ld {target.parent}`"
        ) from error
    check = "fleet config check" if path is None else f"fleet --file {target} config check"
    say(f"wrote {target}; next: {check}")
