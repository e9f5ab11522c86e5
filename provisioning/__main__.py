"""Plan and apply a definitions document, without any fleet: ``python -m provisioning plan desired.json``.

Imports nothing of Celery or of a fleet. The file is described in docs/reference/desired-state.md.
"""

import dataclasses
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from provisioning import errors, planfile, render
from provisioning.apply import Door, Report, apply, plan_against, refusals
from provisioning.broker.desired import read
from provisioning.broker.notes import notes
from provisioning.broker.passwords import SALT_BYTES, Password
from provisioning.broker.releases import refuse_unfit, settled
from provisioning.broker.script import script
from provisioning.broker.state import State, refuse_foreign, refuse_protected
from provisioning.options import Request, destructive_option, open_door, takes_request
from provisioning.plan import Plan
from provisioning.private_file import write_private

PENDING = 4
PARTLY = 3
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A plan, the door it was made through, and what goes with it."""

    plan: Plan
    door: Door
    version: tuple[int, ...]
    notes: tuple[str, ...]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Make a broker match a definitions document (the JSON of `rabbitmqctl export_definitions`)."""


@main.command("plan")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan there, for `apply --plan`."
)
@click.option(
    "--script",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a shell script of rabbitmqctl lines that makes the changes; without secrets.",
)
@destructive_option
@takes_request
def plan_command(request: Request) -> int:
    """Show what would change: exit code 0 when nothing would, 4 otherwise."""
    drafted = _plan(request, prune=request.prune)
    _show(drafted, as_json=request.as_json)
    if request.out:
        _write_plan(drafted, request.out, request)
    if request.script:
        _write_script(drafted, request.script, request)
    return PENDING if drafted.plan.changes else 0


@main.command("apply")
@click.option(
    "--plan",
    "saved",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Carry out exactly this plan, written by `plan --out`, or refuse because something moved.",
)
@destructive_option
@click.option("--close-connections", is_flag=True, help="End connections that keep rights taken away.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@takes_request
def apply_command(request: Request) -> int:
    """Show what changes, ask, change it, and look again."""
    started = time.monotonic()
    drafted = _plan_again(request, request.saved) if request.saved else _plan(request, prune=request.prune)
    _show(drafted, as_json=False, err=request.as_json)
    if drafted.plan.changes and not request.yes:
        if not sys.stdin.isatty():
            raise click.UsageError("stdin is no terminal to ask on; add --yes")
        if not click.confirm("apply?", err=True):
            raise errors.ProvisioningError("not confirmed; nothing was changed")
    report = apply(
        drafted.plan,
        drafted.door,
        allow_destructive=request.allow_destructive,
        close_connections=request.close_connections,
    )
    if request.as_json:
        shown = render.record(drafted.plan, notes=drafted.notes)
        _print_json({**shown, "report": render.report_record(report)})
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


def _show(drafted: Drafted, *, as_json: bool, err: bool = False) -> None:
    refused = refusals(drafted.plan, drafted.door)
    if as_json:
        _print_json(render.record(drafted.plan, refusals=refused, notes=drafted.notes))
    elif shown := render.text(drafted.plan, refusals=refused, notes=drafted.notes):
        click.echo(shown, err=err)


def _write_plan(drafted: Drafted, file: Path, request: Request) -> None:
    content = planfile.save(
        drafted.plan,
        door=request.door,
        broker_version=".".join(map(str, drafted.version)),
        source=str(request.desired),
        created_at=datetime.now(UTC),
        refusals=refusals(drafted.plan, drafted.door),
    )
    _write(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n", mode=0o600)


def _write_script(drafted: Drafted, file: Path, request: Request) -> None:
    text = script(
        drafted.plan,
        version=drafted.version,
        source=str(request.desired),
        allow_destructive=request.allow_destructive,
    )
    _write(file, text, mode=0o700)


def _write(file: Path, text: str, *, mode: int) -> None:
    try:
        write_private(file, text, mode=mode)
    except OSError as error:
        raise click.UsageError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {file}", err=True)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _plan(request: Request, *, prune: bool) -> Drafted:
    door = open_door(request)
    asked, seen = _desired(request), door.observe()
    desired = settled(asked, seen)
    refuse_foreign(desired, seen.resources)
    refuse_unfit(desired, seen)
    planned = plan_against(desired, seen, door, prune=prune)
    return Drafted(plan=planned, door=door, version=seen.version, notes=notes(desired, seen.resources))


def _plan_again(request: Request, file: Path) -> Drafted:
    saved = planfile.load(_text(file))
    if saved.door != request.door:
        raise click.UsageError(f"{file} was made through another door; add --door {saved.door}")
    drafted = _plan(request, prune=saved.prune)
    planfile.refuse_another(saved, drafted.plan, broker_version=".".join(map(str, drafted.version)))
    return drafted


def _desired(request: Request) -> State:
    _refuse_unreadable(request.keep)
    asked = read(_text(request.desired), source=str(request.desired))
    state = dataclasses.replace(asked, mark=request.mark, keep=request.keep)
    refuse_protected(state)
    return state


def _refuse_unreadable(expressions: tuple[str, ...]) -> None:
    for expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            raise click.UsageError(f"--keep is no regular expression: `{expression}`: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise errors.MalformedDefinitions(f"{file}: {error}") from error


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
        _echo_lines(f"error: {error}")
        if error.hint:
            _echo_lines(f"\nhint: {error.hint}")
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _echo_lines(told: str) -> None:
    """Tell on stderr what may hold names of the broker's, none of which may steer the terminal."""
    click.echo("\n".join(map(render.printable, told.split("\n"))), err=True)


if __name__ == "__main__":
    run()
