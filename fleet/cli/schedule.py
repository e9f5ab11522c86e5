"""``fleet schedule``: show when the schedule's entries run next."""

import time
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say


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
    from fleet.schedule import targets, unserved_hosts, upcoming

    fleet = invocation.load()
    zone, now = ZoneInfo(fleet.timezone), int(time.time())
    found = sorted(
        (
            (run, entry.task)
            for entry in fleet.schedule
            for host in targets(fleet, entry)
            for run in islice(upcoming(fleet, entry, host, after=now), count)
        ),
        key=lambda each: (each[0].due, each[0].key),
    )
    for entry in fleet.schedule:
        for host in unserved_hosts(fleet, entry):
            say(f"warning: `{entry.name}` never runs on {host}: no worker there serves its queue")
    if as_json:
        emit_json(
            [
                {
                    "entry": run.entry,
                    "host": run.host,
                    "task": task,
                    "due": datetime.fromtimestamp(run.due, zone).isoformat(),
                    "slot": datetime.fromtimestamp(run.slot, zone).isoformat(),
                    "key": run.key,
                }
                for run, task in found
            ]
        )
        return
    if not found:
        say(f"{fleet.source} schedules nothing; add a `[schedule.NAME]` to it")
        return
    emit_table(
        ("DUE", "IN", "ENTRY", "HOST", "TASK"),
        [
            (
                datetime.fromtimestamp(run.due, zone).strftime("%a %Y-%m-%d %H:%M:%S %Z"),
                _span(run.due - now),
                run.entry,
                run.host or "any",
                task,
            )
            for run, task in found
        ],
    )


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
