"""What can be asked of ``python -m provisioning``, and through which door?"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from provisioning.apply import Door
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.http_api import ClientCertificate
from provisioning.broker.management import ManagementDoor
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for on the command line."""

    #: file with the definitions
    desired: Path
    #: ``http`` or ``rabbitmqctl``
    door: str
    #: base URLs of the management API, one for each node
    url: tuple[str, ...]
    user: str
    password_file: Path | None
    ca: str | None
    cert: str | None
    key: str | None
    #: command line of rabbitmqctl
    rabbitmqctl: str
    mark: str | None
    keep: tuple[str, ...]
    prune: bool
    as_json: bool
    #: where to write the plan, where a script that makes it
    out: Path | None = None
    script: Path | None = None
    #: a plan that was saved: that one is carried out, or none
    saved: Path | None = None
    allow_destructive: bool = False
    close_connections: bool = False
    yes: bool = False


OPTIONS = (
    click.argument("desired", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
    click.option("--door", type=click.Choice(["http", "rabbitmqctl"]), default="http", show_default=True),
    click.option(
        "--url",
        default=("http://127.0.0.1:15672",),
        show_default=True,
        multiple=True,
        help="Management API; once for each node of a cluster, to be tried in turn.",
    ),
    click.option("--user", default="guest", show_default=True, help="An administrator (HTTP door)."),
    click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
        help="Where its password is; without it, the variable PROVISIONING_PASSWORD.",
    ),
    click.option("--ca", help="CA bundle that signed the API's certificate."),
    click.option("--cert", help="Client certificate to show to the API, in PEM."),
    click.option("--key", help="Its key, without a passphrase."),
    click.option("--rabbitmqctl", default="rabbitmqctl", show_default=True, help="Command to run."),
    click.option("--mark", help="Tag of users that are ours to prune."),
    click.option("--keep", multiple=True, help="Expression over names that are never pruned."),
    click.option("--prune", is_flag=True, help="Delete what is ours and not declared."),
    click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout."),
)


destructive_option = click.option(
    "--allow-destructive", is_flag=True, help="Make changes that lose data or access, too."
)


def takes_request(command: Callable[[Request], int]) -> Callable[..., int]:
    """Give ``command`` the options that both commands have, as one record."""

    def run(**given: Any) -> int:
        return command(Request(**given))

    run.__doc__ = command.__doc__
    decorated: Callable[..., int] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def open_door(request: Request) -> Door:
    """Return the door that was asked for; nothing is asked of the broker yet."""
    if request.door == "rabbitmqctl":
        return RabbitmqctlDoor(Rabbitmqctl(shlex.split(request.rabbitmqctl)))
    if request.key and not request.cert:
        raise click.UsageError("--key goes with --cert")
    return ManagementDoor(
        request.url,
        user=request.user,
        password=_password(request.password_file),
        ca=request.ca,
        certificate=ClientCertificate(certificate=request.cert, key=request.key) if request.cert else None,
    )


def _password(file: Path | None) -> str:
    if file is None:
        return os.environ.get("PROVISIONING_PASSWORD", "")
    try:
        with click.open_file(str(file), encoding="utf-8") as opened:
            text: str = opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the password in {file}: {error}") from error
    return text.removesuffix("\n")
