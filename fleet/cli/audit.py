"""`fleet audit`: who changed what on the hosts?"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.cli.hosts import end_with

if TYPE_CHECKING:
    from provisioning.hosts.door import AuditEntry


@click.command(
    epilog="""\b
examples:
  fleet audit
  fleet audit alpha --last 5
  fleet audit --json | jq '.[].entries[] | select(.failed)'
"""
)
@click.argument("host", nargs=-1)
@click.option(
    "--last",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    show_envvar=True,
    metavar="N",
    help="So many entries of each host.",
)
@json_option
@pass_invocation
def audit(inv: Invocation, *, host: tuple[str, ...], last: int, as_json: bool) -> None:
    """Show the last changes on each HOST: when, who, from where, and what.

    HOST is a name, a glob or a label such as @db; all hosts by default. Any account on a host may read its
    log, /var/log/fleet/audit.jsonl. Exit code 3: some hosts told nothing. 5: none could be reached.
    """
    from fleet.ops.hosts import choose, is_unreached, on_hosts
    from provisioning.hosts.door import HostDoor

    fleet = inv.load()
    done = on_hosts(fleet, choose(fleet, host), lambda _, runner: HostDoor(runner).audit(last))
    if as_json:
        emit_json(
            [
                {
                    "host": each.name,
                    "entries": [asdict(entry) for entry in each.value or ()],
                    "error": each.error.message if each.error else None,
                }
                for each in done
            ]
        )
    else:
        found = [(each.name, entry) for each in done for entry in each.value or ()]
        found.sort(key=lambda row: row[1].at)
        emit_table(("WHEN", "HOST", "WHO", "WHAT"), (_row(*row) for row in found))
    for each in done:
        if each.error:
            say(f"{each.name}: {each.error.message}")
    end_with([each.error is not None for each in done], [is_unreached(each.error) for each in done])


def _row(host: str, entry: "AuditEntry") -> tuple[str, ...]:
    when = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    what = f"{len(entry.done)} changes" if len(entry.done) > 3 else ", ".join(entry.done) or "nothing"
    what += f"; failed: {entry.failed}" if entry.failed else ""
    what += f" ({entry.reason})" if entry.reason else ""
    return (when, host, entry.who, what)
