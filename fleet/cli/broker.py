"""`fleet broker`: a private RabbitMQ node for development, tests and first steps."""

import os
import signal
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say

if TYPE_CHECKING:
    from fleet.ops.private_broker import PrivateBroker


@click.group()
def broker() -> None:
    """Run a private RabbitMQ node."""


@broker.command(
    epilog="""\b
Examples:
  fleet broker run                        keep data in ~/.local/state/fleet/broker
  fleet broker run --dir /tmp/try --port 5672
  fleet broker run --json | head -20      the same as a record
"""
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FLEET_BROKER_RUN_DIR",
    show_envvar=True,
    help="Where data, ports and passwords are kept.  [default: ~/.local/state/fleet/broker]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_envvar=True,
    help="AMQP port; 0 means the one of last time, or any free one.  [default: 0]",
)
@json_option
@pass_invocation
def run(invocation: Invocation, *, directory: Path | None, port: int, as_json: bool) -> None:
    """Run a RabbitMQ node of your own in the foreground until Ctrl-C.

    It needs no root, installs nothing system-wide and listens on loopback only. Where RabbitMQ is not
    installed, Debian's packages are unpacked into a cache directory first. The lines for the fleet file
    go to stdout; started again on the same directory, it is the same node with the same data.
    """
    from fleet.daemons.process import DaemonFailed
    from fleet.daemons.rabbitmq import RabbitNode
    from fleet.ops.private_broker import describe, fleet_lines

    environ = invocation.environ()
    chosen = directory or _default_directory()
    # Asked to end while it starts or runs: both unwind through the node's own clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with RabbitNode.start(chosen, port=port, environ=environ, report=say) as node:
            record = describe(node)
            if as_json:
                emit_json(record)
            else:
                click.echo(fleet_lines(record), nl=False)
            say(_advice(record))
            while not node.wait(3600):
                continue
            raise DaemonFailed("RabbitMQ has ended by itself", hint=f"see {chosen}/log")
    except KeyboardInterrupt:
        say(f"stopped; the data stays in {chosen}")


def _default_directory() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fleet" / "broker"


def _advice(record: "PrivateBroker") -> str:
    password, admin_password = str(record.password_file), str(record.admin_password_file)
    return f"""
RabbitMQ runs. Put the lines above into fleet.toml, then `fleet provision broker`.
The passwords are in files that only you may read; to have them in the environment instead:
  export FLEET_BROKER_PASSWORD="$(cat {quote(password)})"
  export FLEET_ADMIN_PASSWORD="$(cat {quote(admin_password)})"
Prometheus finds the broker's own metrics with
  fleet prometheus config --broker {urlsplit(record.metrics_url).netloc}
Ctrl-C stops it."""
