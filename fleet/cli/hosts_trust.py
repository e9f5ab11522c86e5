"""``fleet hosts trust``: show the hosts' keys, and record those that the operator vouches for."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.errors import FleetError, HostsUnreachable, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.model import Fleet, Host
    from fleet.ops.host_keys import Shown

EXAMPLES = """\b
examples:
  fleet hosts trust                  all hosts; asks before it records
  fleet hosts trust alpha            then compare with `ssh-keygen -l` on its console
  fleet hosts trust alpha --replace  after it was set up anew
"""


@click.command(epilog=EXAMPLES)
@click.argument("host", nargs=-1)
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask before recording.")
@click.option(
    "--replace",
    is_flag=True,
    show_envvar=True,
    help="Record the new key of a host whose key has changed, too, in place of the old one.",
)
@json_option
@pass_invocation
def trust(inv: Invocation, *, host: tuple[str, ...], yes: bool, replace: bool, as_json: bool) -> None:
    """Show the key of each HOST, and record it in the fleet's known_hosts file.

    HOST is a name, a glob or a label such as @db; all hosts by default. Nobody logs in. A key that comes
    over the network may be an attacker's: compare fingerprints with `ssh-keygen -l -f
    /etc/ssh/ssh_host_ed25519_key.pub` at the host's own console. Jump hosts come first. A key that has
    changed is not recorded without --replace. Exit code 3: some were not recorded. 5: none was reached.
    """
    from fleet.ops.hosts import choose

    fleet = inv.load()
    shown, recorded = _all(fleet, choose(fleet, host), yes=yes, replace=replace, quiet=as_json)
    if as_json:
        emit_json([_record(each, fleet, is_recorded=each in recorded) for each in shown])
    say(f"{len(recorded)} of {len(shown)} keys recorded in {fleet.ssh.known_hosts}")
    _end(fleet, shown, recorded)


def _all(
    fleet: "Fleet", hosts: "Sequence[Host]", *, yes: bool, replace: bool, quiet: bool
) -> "tuple[list[Shown], list[Shown]]":
    """Look at the nearest hosts first, record, and go on to those behind them."""
    from fleet.ops.host_keys import look_at_keys, record_keys

    shown: list[Shown] = []
    recorded: list[Shown] = []
    while found := look_at_keys(fleet, hosts, seen=frozenset(each.known_as for each in shown)):
        shown += found
        if not quiet:
            emit_table(("HOST", "KNOWN AS", "KEY", "FINGERPRINT", ""), (_row(each, fleet) for each in found))
        wanted = [each for each in found if _may_be_recorded(each, fleet, replace=replace)]
        if wanted and _vouches(wanted, yes=yes):
            record_keys(fleet, wanted)
            recorded += wanted
    return shown, recorded


def _may_be_recorded(shown: "Shown", fleet: "Fleet", *, replace: bool) -> bool:
    from provisioning.hosts.known_hosts import Standing

    if shown.standing is Standing.CHANGED:
        return replace
    return shown.standing in (Standing.UNKNOWN, Standing.TRUSTED) and not shown.is_recorded_in(fleet)


def _vouches(shown: "Sequence[Shown]", *, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"stdin is no terminal to ask on; {len(shown)} keys are not recorded",
            hint="compare the fingerprints, then add `--yes`",
        )
    keys = "this key" if len(shown) == 1 else f"these {len(shown)} keys"
    return click.confirm(f"did you compare the fingerprints, and shall {keys} be trusted?", err=True)


def _row(shown: "Shown", fleet: "Fleet") -> tuple[str, ...]:
    if shown.key is None:
        reason = shown.error.message if shown.error else "no key"
        return shown.name, shown.known_as, "-", "-", reason
    return shown.name, shown.known_as, shown.key.type, shown.key.fingerprint, _standing(shown, fleet)


def _standing(shown: "Shown", fleet: "Fleet") -> str:
    from provisioning.hosts.known_hosts import Standing

    places = ", ".join(f"{known.key.fingerprint} in {known.place}" for known in shown.known)
    if shown.standing is Standing.CHANGED:
        return f"CHANGED: known is {places}"
    if shown.standing is Standing.REVOKED:
        return f"REVOKED in {', '.join(known.place for known in shown.known)}"
    if shown.standing is Standing.TRUSTED:
        return "recorded" if shown.is_recorded_in(fleet) else "known to you, not yet recorded"
    return "new"


def _record(shown: "Shown", fleet: "Fleet", *, is_recorded: bool) -> dict[str, object]:
    return {
        "host": shown.name,
        "known_as": shown.known_as,
        "type": shown.key.type if shown.key else None,
        "fingerprint": shown.key.fingerprint if shown.key else None,
        "standing": str(shown.standing) if shown.standing else None,
        "known": [{"fingerprint": each.key.fingerprint, "place": each.place} for each in shown.known],
        "recorded": is_recorded or shown.is_recorded_in(fleet),
        "error": shown.error.message if shown.error else None,
    }


def _end(fleet: "Fleet", shown: "Sequence[Shown]", recorded: "Sequence[Shown]") -> None:
    """Raise what the command ends with, where a key was not recorded."""
    from provisioning.hosts.known_hosts import Standing

    left = [each for each in shown if each not in recorded and not each.is_recorded_in(fleet)]
    if not left:
        return
    if all(each.key is None for each in shown):
        raise HostsUnreachable("no host showed a key", hint="try `ssh HOST` from here")
    changed = [each.name for each in left if each.standing is Standing.CHANGED]
    hint = None
    if changed:
        hint = f"if they were set up anew: `fleet hosts trust --replace {' '.join(changed)}`"
    told = f"not recorded: {', '.join(each.name for each in left)}"
    raise (PartlyDone if len(left) < len(shown) else FleetError)(told, hint=hint)
