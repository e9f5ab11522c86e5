"""`fleet hosts revoke`: shut one lost host out of the broker."""

from dataclasses import asdict

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.provision_apply import ask, yes_option


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
    """
    from fleet.ops.revoke import revoke_lost_host

    fleet = inv.load()
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
    if fleet.host(host) is not None:
        say(
            f"`fleet provision broker` would make them again, with the password that {host} knows:"
            " take it out of the fleet file, or change what is kept as its password, first"
        )
    for name, place in revoked.also_had.items():
        say(f"{host} also had {name} (`{place}`): change that, too")
