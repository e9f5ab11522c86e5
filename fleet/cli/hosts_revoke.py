"""`fleet hosts revoke`: shut one lost host out of the broker."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.provision_apply import ask, yes_option

if TYPE_CHECKING:
    from fleet.model import Fleet
    from fleet.ops.revoke import Revoked


@click.command(
    epilog="""\b
examples:
  fleet hosts revoke alpha          alpha was stolen: no more logins, and its connections end
  fleet hosts revoke alpha --yes --json
"""
)
@click.argument("host")
@yes_option
@json_option
@pass_invocation
def revoke(inv: Invocation, *, host: str, yes: bool, as_json: bool) -> None:
    """Delete the broker users of HOST and end their connections at once; other hosts notice nothing.

    The host itself is not asked. Only with the profile `per-host`, where each host has users of its own; once
    more does no harm. Take HOST out of the fleet file, or give it a new password, before you provision again.
    If HOST runs beat, the user with the role `scheduler` is deleted, too: give that one a new password then.
    """
    from fleet.ops.revoke import revoke_lost_host, scheduler_of

    fleet = inv.load()
    if scheduler := scheduler_of(fleet, host):
        say(
            f"{host} runs beat, so user {scheduler.name} goes, too;"
            " the schedule rests until beat runs elsewhere"
        )
    if not yes:
        ask(f"shut host {host} out of the broker?", pending=f"the broker users of {host} would be deleted")
    revoked = revoke_lost_host(fleet, inv.environ(), host)
    if as_json:
        emit_json(asdict(revoked))
    for client in revoked.closed:
        say(f"closed: {client}")
    told = (
        f"deleted: user {', '.join(revoked.users)}" if revoked.users else "its users were not there any more"
    )
    say(f"{host}: {told}")
    _tell_what_is_left(fleet, revoked)


def _tell_what_is_left(fleet: "Fleet", revoked: "Revoked") -> None:
    """Say what the operator has to see to: what comes again, and what else the thief knows."""
    from fleet.hosts.needs import SCHEDULER_PASSWORD

    host, scheduler = revoked.host, fleet.broker.scheduler
    if fleet.host(host) is not None:
        say(
            f"`fleet provision broker` would make them again, with the password that {host} knows:"
            " take it out of the fleet file, or change what is kept as its password, first"
        )
    elif scheduler is not None:
        say(f"did {host} run beat? Then also `fleet rotate password --user {scheduler.name}`")
    for name, place in revoked.also_had.items():
        again = ", before `fleet provision broker` makes its user again" if name == SCHEDULER_PASSWORD else ""
        say(f"{host} also had {name} (`{place}`): change that, too{again}")
