"""``fleet provision adopt``: write a fleet file from a broker that is there already."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say

if TYPE_CHECKING:
    from fleet.adopt.adopt import Adoption

EXAMPLES = """\b
examples:
  fleet provision adopt --management http://mq1:15672 --admin admin
  fleet provision adopt --vhost shop --definitions exported.json --url amqp://mq1:5672
  fleet -f new.toml provision adopt --rabbitmqctl /usr/lib/rabbitmq/bin/rabbitmqctl --host web-1

What is adopted and what is left alone: docs/how-to/adopt-a-broker.md.
"""
_USUAL_MANAGEMENT = "http://127.0.0.1:15672"


@click.command(epilog=EXAMPLES)
@click.option(
    "--definitions",
    type=click.Path(path_type=Path, dir_okay=False),
    show_envvar=True,
    help="Look at this export of the broker's definitions, not at the broker.",
)
@click.option("--rabbitmqctl", show_envvar=True, help="Look through this program (a command line).")
@click.option(
    "--management", show_envvar=True, help=f"Look through this management API; {_USUAL_MANAGEMENT} otherwise."
)
@click.option("--admin", default="admin", show_default=True, show_envvar=True, help="Its administrator.")
@click.option(
    "--admin-password",
    default="env:FLEET_ADMIN_PASSWORD",
    show_default=True,
    show_envvar=True,
    help="Where the administrator's password is kept.",
)
@click.option(
    "--ca",
    type=click.Path(resolve_path=True),
    show_envvar=True,
    help="CA bundle that signed the management API's certificate.",
)
@click.option("--vhost", default="celery", show_default=True, show_envvar=True, help="The vhost to describe.")
@click.option(
    "--url",
    "nodes",
    multiple=True,
    show_envvar=True,
    help="AMQP address for the file, once for each node; the management API's host otherwise.",
)
@click.option("--user", show_envvar=True, help="The fleet's own user, where the broker does not tell.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    show_envvar=True,
    help="A host of workers that the broker does not show.",
)
@click.option(
    "--secrets",
    type=click.Path(path_type=Path),
    show_envvar=True,
    help="Where the hashes go (mode 0600); the fleet file's name with `.env` otherwise.",
)
@json_option
@pass_invocation
def adopt(
    inv: Invocation,
    *,
    definitions: Path | None,
    rabbitmqctl: str | None,
    management: str | None,
    admin: str,
    admin_password: str,
    ca: str | None,
    vhost: str,
    nodes: tuple[str, ...],
    user: str | None,
    hosts: tuple[str, ...],
    secrets: Path | None,
    as_json: bool,
) -> None:
    """Write a fleet file that describes a running broker, and change nothing in it.

    The file goes to where `fleet --file` points (./fleet.toml), and never replaces one. What the broker
    cannot tell is marked in it; what a fleet file cannot express is listed, left alone and noted at its end.
    Passwords stay as they are: their hashes go into a file of their own.
    """
    from fleet.ops.adopt import Source, adopt_broker, wish_of

    target = Path(inv.path)
    hidden = secrets or target.with_suffix(".env")
    source = Source(
        definitions=definitions,
        rabbitmqctl=tuple(shlex.split(rabbitmqctl or "")),
        management_url=management or (None if definitions or rabbitmqctl else _USUAL_MANAGEMENT),
        user=admin,
        password=admin_password,
        ca=ca,
    )
    wish = wish_of(source, vhost=vhost, nodes=nodes, user=user, hosts=hosts, secrets=hidden.name)
    adoption = adopt_broker(source, wish, inv.environ())
    _write(adoption, target, hidden)
    if as_json:
        emit_json(_record(adoption, target, hidden))
    _tell(adoption, target, hidden)


def _write(adoption: "Adoption", target: Path, hidden: Path) -> None:
    """Write both files, or neither where one is there already."""
    from fleet.cli.new_file import new_file

    with new_file(target, option="--file") as file, new_file(hidden, option="--secrets") as kept:
        file.write(adoption.file)
        kept.write(adoption.secrets)


def _record(adoption: "Adoption", target: Path, hidden: Path) -> dict[str, object]:
    from provisioning import render

    return {
        "file": str(target),
        "secrets": str(hidden),
        "is_fleet": adoption.is_fleet,
        "plan": render.record(adoption.plan, refusals={}),
        "unmanaged": [asdict(left) for left in adoption.unmanaged],
        "to_supply": adoption.to_supply,
    }


def _tell(adoption: "Adoption", target: Path, hidden: Path) -> None:
    from provisioning import render

    for left in adoption.unmanaged:
        say(f"left alone: {left}")
    if not adoption.is_fleet:
        say("this is plain Celery's vhost: provisioning adds all of a fleet beside what is there")
    told = render.summary(adoption.plan) if adoption.plan.changes else "changes nothing"
    say(f"wrote {target} and {hidden}; provisioning it: {told}")
    say(f"still to supply, beside the hashes: {', '.join(adoption.to_supply)}")
