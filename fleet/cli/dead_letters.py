"""``fleet dead-letters``: look at what was given up, send it again, give it up for good, keep a copy."""

import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from fleet.cli.context import (
    Invocation,
    emit_json,
    emit_table,
    json_option,
    pass_invocation,
    say,
    to_json,
)
from fleet.cli.dead_letters_act import discard, replay
from fleet.cli.new_file import new_file
from fleet.cli.selecting import Selecting, selecting_options
from fleet.errors import FleetError

if TYPE_CHECKING:
    from fleet.ops.letters.listing import Details, Line, Listing


@click.group(epilog="Start with `fleet dead-letters list`. How it works: docs/how-to/dead-letters.md.")
def dead_letters() -> None:
    """Look at, replay and discard the messages that were given up."""


@dead_letters.command(
    "list",
    epilog="""\b
Examples:
  fleet dead-letters list
  fleet dead-letters list --count
  fleet dead-letters list --queue email --exception 'SMTP*' --newer-than 1d""",
)
@selecting_options
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    show_envvar=True,
    help="Show at most so many.",
)
@click.option(
    "--count", "counted", is_flag=True, show_envvar=True, help="Count all by queue, task, reason and error."
)
@json_option
@pass_invocation
def list_command(
    invocation: Invocation, *, selecting: Selecting, limit: int, counted: bool, as_json: bool
) -> None:
    """Show dead letters without taking any: task, id, reason, error, host. Arguments are not shown.

    While the list is read, its letters are hidden from others who look; a letter that somebody else holds
    is not listed.
    """
    from fleet.ops.letters.listing import list_letters

    access, selection = selecting.access(invocation), selecting.selection()
    if counted:
        _show_counts(selecting, invocation, as_json=as_json)
        return
    found = list_letters(access, selection, limit=limit, now=time.time())
    if as_json:
        emit_json(found)
        return
    zone = ZoneInfo(access.fleet.timezone)
    if found.lines:
        columns = ("DIED", "TASK", "ID", "REASON", "ERROR", "HOST", "FROM", "REPLAYS")
        emit_table(columns, [_row(line, zone) for line in found.lines])
    _say_what_is_missing(found)


def _show_counts(selecting: Selecting, invocation: Invocation, *, as_json: bool) -> None:
    from fleet.ops.letters.listing import count_letters

    groups = count_letters(selecting.access(invocation), selecting.selection(), now=time.time())
    if as_json:
        emit_json([asdict(group) for group in groups])
    elif groups:
        rows = [(str(g.count), g.dead_letter_queue, g.task or "?", g.reason, g.error or "") for g in groups]
        emit_table(("COUNT", "DEAD-LETTER QUEUE", "TASK", "REASON", "ERROR"), rows)
    else:
        say("no dead letters")


def _row(line: "Line", zone: ZoneInfo) -> tuple[str, ...]:
    return (
        _moment(line.died, zone),
        line.task or "?",
        line.task_id or "?",
        line.reason,
        line.error or line.detail or "",
        line.host or "",
        line.origin or "?",
        str(line.replays or ""),
    )


def _moment(seconds: float | None, zone: ZoneInfo) -> str:
    return "?" if seconds is None else datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M:%S")


def _say_what_is_missing(found: "Listing") -> None:
    if not found.lines:
        say(f"none of {found.there} dead letters is meant" if found.there else "no dead letters")
    elif found.is_cut:
        say(f"the first {len(found.lines)}; there are more: see `--limit` and `--count`")
    else:
        say(f"{len(found.lines)} dead letters")
    for queue in found.shared:
        say(f"somebody else looks into {queue}; what they hold is not seen here")
    if found.journal_trouble:
        say(f"errors and hosts are not known: {found.journal_trouble}")


@dead_letters.command(
    epilog="""\b
Examples:
  fleet dead-letters show 5f2c1d9e-0b7a-4d57-9d0e-0a4f3c1b2a10
  fleet dead-letters show 5f2c1d9e-0b7a-4d57-9d0e-0a4f3c1b2a10 --arguments"""
)
@click.argument("task_id")
@click.option(
    "--queue", "queues", multiple=True, show_envvar=True, help="Look only into this queue's; repeatable."
)
@click.option(
    "--arguments", is_flag=True, show_envvar=True, help="Show its arguments, masked where they look secret."
)
@click.option("--unmasked", is_flag=True, show_envvar=True, help="Show its arguments as they are.")
@click.option("--user", show_envvar=True, help="Act as this user of `[broker.users]`.")
@json_option
@pass_invocation
def show(
    invocation: Invocation,
    *,
    task_id: str,
    queues: tuple[str, ...],
    arguments: bool,
    unmasked: bool,
    user: str | None,
    as_json: bool,
) -> None:
    """Show all that is known about the dead letter of TASK_ID: where it was, what failed, on which hosts."""
    from fleet.ops.letters.access import access
    from fleet.ops.letters.arguments import arguments_of
    from fleet.ops.letters.listing import show_letters

    way = access(invocation.load(), invocation.environ(), queues=queues, user=user)
    found = show_letters(way, task_id, now=time.time())
    if not found:
        raise FleetError(
            f"no dead letter of task id `{task_id}`",
            hint="see `fleet dead-letters list`; what somebody else looks at is not seen meanwhile",
        )
    records = [_record(details) for details in found]
    if arguments or unmasked:
        for details, record in zip(found, records, strict=True):
            read = arguments_of(details.letter, unmasked=unmasked)
            record["arguments"] = asdict(read) if read else None
    if as_json:
        emit_json(records)
        return
    if trouble := found[0].journal_trouble:
        say(f"errors and hosts are not known: {trouble}")
    zone = ZoneInfo(way.fleet.timezone)
    click.echo("\n\n".join(_described(record, zone) for record in records))


def _record(details: "Details") -> dict[str, Any]:
    return {
        **asdict(details.line),
        "deaths": [asdict(death) for death in details.deaths],
        "history": [outcome._asdict() for outcome in details.history],
    }


def _described(record: dict[str, Any], zone: ZoneInfo) -> str:
    from provisioning.render import printable

    nested = ("deaths", "history", "arguments")
    lines = [
        f"{name}: {_moment(value, zone) if name in ('died', 'first_sent') else value}"
        for name, value in record.items()
        if name not in nested and value is not None
    ]
    for death in record["deaths"]:
        when = _moment(death["time"], zone)
        lines.append(f"left {death['queue']}: {death['reason']}, {death['count']} times, first {when}")
    for run in record["history"]:
        told = ": ".join(part for part in (run["error"], run["message"]) if part)
        lines.append(
            f"attempt {run['attempt']}: {run['outcome']} {_moment(run['finished'], zone)} "
            f"by {run['worker']} on {run['host']}{f' ({told})' if told else ''}"
        )
    if "arguments" in record:
        arguments = record["arguments"]
        lines.append("arguments: " + (to_json(arguments) if arguments else "cannot be read"))
    # Line ends, too: what a stranger wrote must not look like a line of ours.
    return "\n".join(map(printable, lines))


@dead_letters.command(
    epilog="""\b
Examples:
  fleet dead-letters export --output letters.jsonl
  fleet dead-letters export --older-than 30d --output - | gzip > letters.jsonl.gz"""
)
@selecting_options
@click.option(
    "--output", required=True, show_envvar=True, help="A new file, readable by you only; - for stdout."
)
@pass_invocation
def export(invocation: Invocation, *, selecting: Selecting, output: str) -> None:
    """Copy dead letters into a file, one JSON object per line, arguments included; none is taken.

    A file that exists is not overwritten; it appears only when it is complete.
    """
    from fleet.ops.letters.listing import export_letters

    access, selection = selecting.access(invocation), selecting.selection()
    count = 0
    with nullcontext(sys.stdout) if output == "-" else new_file(Path(output), option="--output") as file:
        for record in export_letters(access, selection, now=time.time()):
            file.write(to_json(record) + "\n")
            count += 1
    say(f"{count} dead letters copied")


dead_letters.add_command(replay)
dead_letters.add_command(discard)
