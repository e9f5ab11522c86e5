"""``fleet config``: check the fleet file, show what it means, describe it to an editor."""

import json

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.errors import ConfigError, Problem


@click.group(epilog="Start with `fleet config check`.")
def config() -> None:
    """Check and show the fleet file."""


@config.command(epilog="Example: fleet --file /etc/fleet/fleet.toml config check --json")
@json_option
@pass_invocation
def check(invocation: Invocation, *, as_json: bool) -> None:
    """Say everything that is wrong with the fleet file, each with its line. Exit status 2 if anything is."""
    try:
        fleet = invocation.load()
    except ConfigError as error:
        if as_json:
            emit_json({"ok": False, "problems": [_record(problem) for problem in error.problems]})
        raise
    if as_json:
        emit_json({"ok": True, "problems": []})
        return
    say(
        f"{invocation.path} is right: {len(fleet.hosts)} hosts, {len(fleet.workers)} workers, "
        f"{len(fleet.queues)} queues, {len(fleet.backups)} backups, {len(fleet.schedule)} schedule entries"
    )


@config.command(epilog="Example: fleet config show | grep broker")
@json_option
@pass_invocation
def show(invocation: Invocation, *, as_json: bool) -> None:
    """Show every value and where it came from: a line of the file, or a default. Secrets stay references."""
    from fleet.config.show import settings
    from fleet.fleetfile import read_text

    fleet = invocation.load()
    found = settings(fleet, read_text(invocation.path))
    if as_json:
        emit_json([{"key": item.key, "value": item.value, "origin": item.origin} for item in found])
        return
    rows = [
        (item.key, json.dumps(item.value, ensure_ascii=False, default=str), item.origin) for item in found
    ]
    emit_table(("KEY", "VALUE", "FROM"), rows)


@config.command(epilog="Example: fleet config schema > fleet.schema.json")
def schema() -> None:
    """Print the JSON Schema of the fleet file, for editors that complete and check TOML."""
    from fleet.config.editor_schema import json_schema

    emit_json(json_schema())


def _record(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    }
