"""``fleet permissions``: what a broker user may do, in words and for one case."""

from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, shown

if TYPE_CHECKING:
    from fleet.model import Fleet
    from fleet.ops.permissions import Seen
    from fleet.rights import Ability, Explanation

#: exit code where the user may not
REFUSED = 1

declared_option = click.option(
    "--declared",
    is_flag=True,
    show_envvar=True,
    help="Go by the fleet file, and ask no broker; else by the broker as it is.",
)
door_option = click.option(
    "--door",
    type=click.Choice(["http", "rabbitmqctl"]),
    show_envvar=True,
    help="How to reach the broker; default: the management API if the fleet file names it.",
)


@click.group(epilog="Start with `fleet permissions explain celery`. More: docs/how-to/permissions.md.")
def permissions() -> None:
    """Say what a broker user may do. Nothing is changed, and no user's password is needed."""


@permissions.command(
    epilog="""\b
Examples:
  fleet permissions explain celery
  fleet permissions explain celery-alpha --declared
  fleet permissions explain shop --json | jq '.can[] | select(.grave)'"""
)
@click.argument("user")
@declared_option
@door_option
@json_option
@pass_invocation
def explain(invocation: Invocation, *, user: str, declared: bool, door: str | None, as_json: bool) -> None:
    """Say in words what USER can do in the fleet's vhost, and what it cannot.

    A line that begins with an exclamation mark reaches further than a worker, a sender or a reader needs.
    """
    from fleet.ops.permissions import explain_user

    fleet, seen = _look(invocation, declared=declared, door=door)
    found = explain_user(fleet, seen, user)
    if as_json:
        emit_json(_record(found, seen))
        return
    click.echo(_told(found))


@permissions.command(
    epilog="""\b
Examples:
  fleet permissions simulate shop write fleet.tasks --key fleet.backup.alpha
  fleet permissions simulate celery-alpha read fleet.backup.beta --declared
  fleet permissions simulate celery configure fleet.email --json

\b
configure: declare or delete the queue or exchange NAME
write:     publish to the exchange, or bind the queue; amq.default is the exchange without a name
read:      consume or purge the queue, or bind something to the exchange"""
)
@click.argument("user")
@click.argument("right", type=click.Choice(["read", "write", "configure"]))
@click.argument("name")
@click.option("--key", show_envvar=True, help="The routing key, which topic permissions may limit.")
@declared_option
@door_option
@json_option
@pass_invocation
def simulate(
    invocation: Invocation,
    *,
    user: str,
    right: str,
    name: str,
    key: str | None,
    declared: bool,
    door: str | None,
    as_json: bool,
) -> None:
    """Say whether USER has the right READ, WRITE or CONFIGURE on the queue or exchange NAME, and why.

    Exit code 0: allowed. 1: refused.
    """
    from fleet.ops.permissions import simulate as simulated
    from provisioning.broker.operations import Right

    fleet, seen = _look(invocation, declared=declared, door=door)
    verdict = simulated(fleet, seen, user, Right(right), name, key=key)
    if as_json:
        asked = {"user": user, "vhost": fleet.broker.vhost, "right": right, "name": name, "key": key}
        emit_json(asked | {"source": seen.source, "allowed": verdict.allowed, "reason": verdict.reason})
    else:
        click.echo(shown(f"{'allowed' if verdict.allowed else 'refused'}: {verdict.reason}"))
    if not verdict.allowed:
        click.get_current_context().exit(REFUSED)


def _look(invocation: Invocation, *, declared: bool, door: str | None) -> "tuple[Fleet, Seen]":
    from fleet.ops.permissions import look
    from fleet.ops.provision import DoorName

    fleet = invocation.load()
    wanted = DoorName(door) if door else None
    return fleet, look(fleet, invocation.environ(), declared=declared, door=wanted)


def _record(found: "Explanation", seen: "Seen") -> dict[str, object]:
    row = found.permission
    rows = {"configure": row.configure, "write": row.write, "read": row.read} if row else None
    return {
        "user": found.user,
        "vhost": found.vhost,
        "source": seen.source,
        "tags": list(found.tags),
        "permission": rows,
        "topic_permissions": [
            {"exchange": each.exchange, "write": each.write, "read": each.read}
            for each in found.topic_permissions
        ],
        "can": [
            {"what": each.what, "words": each.words, "grave": each.grave, "names": list(each.names)}
            for each in found.can
        ],
        "cannot": [{"what": each.what, "words": each.words} for each in found.cannot],
    }


def _told(found: "Explanation") -> str:
    from provisioning.render import printable

    tags = f", tags {', '.join(found.tags)}" if found.tags else ""
    lines = [printable(f"{found.user} in vhost {found.vhost}{tags}")]
    if found.permission is None:
        lines.append("has no permission there, so it cannot open the vhost")
    for heading, abilities in (("can", found.can), ("cannot", found.cannot)):
        if abilities:
            lines.append(heading)
            lines.extend(_line(each, marked=each.grave and heading == "can") for each in abilities)
    return "\n".join(lines)


def _line(ability: "Ability", *, marked: bool) -> str:
    from provisioning.render import printable

    names = f": {printable(', '.join(ability.names))}" if ability.names else ""
    return f"  {'!' if marked else ' '} {ability.words}{names}"
