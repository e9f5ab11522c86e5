"""``fleet schedule``: show when the schedule's entries run next."""

import time
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say

if TYPE_CHECKING:
    from fleet.model import Fleet
    from fleet.schedule import Occurrence


@click.command(
    epilog="""\b
Examples:
  fleet schedule
  fleet schedule --count 5 --json"""
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    show_envvar=True,
    help="Show this many runs of each entry on each host.",
)
@json_option
@pass_invocation
def schedule(invocation: Invocation, *, count: int, as_json: bool) -> None:
    """Show the next runs of each schedule entry, per host, with its jitter, in the fleet's time zone."""
    fleet = invocation.load()
    zone, now = ZoneInfo(fleet.timezone), int(time.time())
    runs = _next_runs(fleet, after=now, count=count)
    tasks = {entry.name: entry.task for entry in fleet.schedule}
    if as_json:
        emit_json([_record(run, tasks[run.entry], zone) for run in runs])
    elif runs:
        rows = [_row(run, tasks[run.entry], zone, now) for run in runs]
        emit_table(("DUE", "IN", "ENTRY", "HOST", "TASK"), rows)
    else:
        say(f"{fleet.source} schedules nothing; add a `[schedule.NAME]` to it")


def _next_runs(fleet: "Fleet", *, after: int, count: int) -> "list[Occurrence]":
    from fleet.schedule import targets, upcoming

    found = (
        run
        for entry in fleet.schedule
        for host in targets(fleet, entry)
        for run in islice(upcoming(fleet, entry, host, after=after), count)
    )
    return sorted(found, key=lambda run: (run.due, run.key))


def _record(run: "Occurrence", task: str, zone: ZoneInfo) -> dict[str, object]:
    return {
        "entry": run.entry,
        "host": run.host,
        "task": task,
        "due": datetime.fromtimestamp(run.due, zone).isoformat(),
        "slot": datetime.fromtimestamp(run.slot, zone).isoformat(),
        "key": run.key,
    }


def _row(run: "Occurrence", task: str, zone: ZoneInfo, now: int) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(run.due, zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")
    return (moment, _span(run.due - now), run.entry, run.host or "any", task)


def _span(seconds: int) -> str:
    """Return the time until a run in its two largest units."""
    units = [
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "m"),
        (seconds % 60, "s"),
    ]
    shown = [f"{number}{unit}" for number, unit in units if number]
    return " ".join(shown[:2]) or "0s"
