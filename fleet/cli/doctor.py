"""``fleet doctor``: is what the fleet depends on sound?"""

from dataclasses import asdict

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say

EXAMPLES = """\b
Examples:
  fleet doctor broker
  fleet doctor broker --quiet            only what is not ok
  fleet doctor broker --json | jq -r '.findings[] | select(.level == "fail") | .message'

What each check asks, and what to do: docs/how-to/check-a-broker.md."""


@click.group(epilog="Start with `fleet doctor broker`.")
def doctor() -> None:
    """Look for what is wrong, without changing anything."""


@doctor.command(epilog=EXAMPLES)
@click.option("--quiet", is_flag=True, show_envvar=True, help="Show only what is not ok.")
@json_option
@pass_invocation
def broker(inv: Invocation, *, quiet: bool, as_json: bool) -> None:
    """Check the broker: nodes, alarms, queues, dead letters, rights, certificates and more.

    It looks through [broker.management] and `rabbitmqctl`, whichever the fleet file names, and asks for no
    password of the fleet's own users. Exit code 0: nothing failed (warnings alone are no failure). 4: a check
    failed. 5: no door of the broker answered; what can be checked without is shown.
    """
    from fleet.doctor.finding import Level
    from fleet.doctor.render import summary, text
    from fleet.errors import BrokerUnreachable, ProblemsFound
    from fleet.ops.doctor import examine

    found = examine(inv.load(), inv.environ())
    shown = [finding for finding in found.findings if not (quiet and finding.level is Level.OK)]
    if as_json:
        version = ".".join(map(str, found.version)) if found.version else None
        emit_json(
            {
                "verdict": found.verdict,
                "reachable": found.is_reachable,
                "broker_version": version,
                "findings": [asdict(finding) for finding in shown],
            }
        )
    elif shown:
        click.echo(text(shown))
    say(summary(found.findings))
    if not found.is_reachable:
        raise BrokerUnreachable("no door of the broker answered, so most of it could not be checked")
    if found.verdict is Level.FAIL:
        raise ProblemsFound("the broker is not sound; see the lines marked `fail`")
