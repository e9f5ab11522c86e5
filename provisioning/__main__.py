"""Plan and apply a definitions document, without any fleet: ``python -m provisioning plan desired.json``.

Imports nothing of Celery or of a fleet. The file is described in docs/reference/desired-state.md.
"""

import dataclasses
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from provisioning import errors, render
from provisioning.apply import Door, Report, apply, plan_against, refusals
from provisioning.broker.desired import read
from provisioning.broker.http_api import ClientCertificate
from provisioning.broker.management import ManagementDoor
from provisioning.broker.notes import notes
from provisioning.broker.passwords import SALT_BYTES, Password
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.releases import refuse_unfit, settled
from provisioning.broker.state import State, refuse_foreign, refuse_protected
from provisioning.plan import Plan

PENDING = 4
PARTLY = 3
INTERRUPTED = 130


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


def takes_request(command: Callable[[Request], int]) -> Callable[..., int]:
    """Give ``command`` the options that both commands have, as one record."""

    def run(**given: Any) -> int:
        return command(Request(**given))

    run.__doc__ = command.__doc__
    decorated: Callable[..., int] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Make a broker match a definitions document (the JSON of `rabbitmqctl export_definitions`)."""


@main.command("plan")
@takes_request
def plan_command(request: Request) -> int:
    """Show what would change: exit code 0 when nothing would, 4 otherwise."""
    door = _door(request)
    planned, told = _plan(request, door)
    _show(planned, door, told, as_json=request.as_json)
    return PENDING if planned.changes else 0


@main.command("apply")
@click.option("--allow-destructive", is_flag=True, help="Make changes that lose data or access, too.")
@click.option("--close-connections", is_flag=True, help="End connections that keep rights taken away.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_request
def apply_command(request: Request) -> int:
    """Show what changes, ask, change it, and look again."""
    started = time.monotonic()
    door = _door(request)
    planned, told = _plan(request, door)
    _show(planned, door, told, as_json=False, err=request.as_json)
    if planned.changes and not request.yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is no terminal to ask on; add --yes")
        if not click.confirm("apply?", err=True):
            raise errors.ProvisioningError("not confirmed; nothing was changed")
    report = apply(
        planned,
        door,
        allow_destructive=request.allow_destructive,
        close_connections=request.close_connections,
    )
    if request.as_json:
        _print_json({**render.record(planned, notes=told), "report": render.report_record(report)})
    if undone := render.report_text(report):
        click.echo(undone, err=True)
    click.echo(render.outcome(report, seconds=time.monotonic() - started), err=True)
    return _exit_code(report)


@main.command("hash-password")
def hash_password() -> int:
    """Read a password from stdin and print the `password_hash` for a definitions document."""
    clear = sys.stdin.readline().removesuffix("\n")
    if not clear:
        raise click.UsageError("no password on stdin")
    click.echo(Password(clear).hashed(salt=os.urandom(SALT_BYTES)).salted)
    return 0


def _exit_code(report: Report) -> int:
    if report.converged:
        return 0
    return 1 if report.untouched else PARTLY


def _show(planned: Plan, door: Door, told: tuple[str, ...], *, as_json: bool, err: bool = False) -> None:
    refused = refusals(planned, door)
    if as_json:
        _print_json(render.record(planned, refusals=refused, notes=told))
    elif shown := render.text(planned, refusals=refused, notes=told):
        click.echo(shown, err=err)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _plan(request: Request, door: Door) -> tuple[Plan, tuple[str, ...]]:
    asked, seen = _desired(request), door.observe()
    desired = settled(asked, seen)
    refuse_foreign(desired, seen.resources)
    refuse_unfit(desired, seen)
    return plan_against(desired, seen, door, prune=request.prune), notes(desired, seen.resources)


def _desired(request: Request) -> State:
    try:
        text = request.desired.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise errors.MalformedDefinitions(f"{request.desired}: {error}") from error
    _refuse_unreadable(request.keep)
    asked = read(text, source=str(request.desired))
    state = dataclasses.replace(asked, mark=request.mark, keep=request.keep)
    refuse_protected(state)
    return state


def _refuse_unreadable(expressions: tuple[str, ...]) -> None:
    for expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            raise click.UsageError(f"--keep is no regular expression: `{expression}`: {error}") from error


def _door(request: Request) -> Door:
    if request.door == "rabbitmqctl":
        return RabbitmqctlDoor(shlex.split(request.rabbitmqctl))
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


def run() -> NoReturn:
    """Run the command line; the one place where an error becomes text and an exit code."""
    try:
        code = main.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except errors.ProvisioningError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"\nhint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    run()
