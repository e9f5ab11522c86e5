"""``python -m tests.hosts.lab``: what `make lab`, `make lab-status`, `make lab-down` and `make lab-clean`
call."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from fleet.errors import FleetError
from tests.hosts.lab.brokers import RELEASES
from tests.hosts.lab.claims import Record, down_command, records, swept
from tests.hosts.lab.images import built, forget
from tests.hosts.lab.keeper import WORKERS, Shape, keep, start_keeper, stop_keeper
from tests.hosts.lab.system import LabFailed, lab_root, require_lab

Command = Callable[..., None]


@click.group(context_settings={"auto_envvar_prefix": "FLEET_LAB", "help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run hosts with systemd, SSH and cables on this machine."""


def _shape(command: Command) -> Command:
    options = (
        click.option("--name", default="lab", show_default=True, help="Name of the lab."),
        click.option(
            "--release",
            type=click.Choice(list(RELEASES)),
            default="3.10",
            show_default=True,
            help="RabbitMQ release; 3.10 comes with Debian 12, 4.0 with Debian 13.",
        ),
        click.option(
            "--brokers", type=click.IntRange(0, 5), default=3, show_default=True, help="Size of the cluster."
        ),
        click.option(
            "--workers",
            type=click.IntRange(0, len(WORKERS)),
            default=3,
            show_default=True,
            help="Number of plain hosts.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_shape
def up(**shape: Any) -> None:
    """Start a lab that goes on running, and say how to use it."""
    require_lab()
    if not shape["brokers"] and not shape["workers"]:
        raise click.UsageError("a lab needs at least one host: give `--brokers` or `--workers`")
    start_keeper(Shape(**shape), click.echo)


@main.command(hidden=True)
@_shape
def keep_(**shape: Any) -> None:
    """Own a lab until SIGTERM."""
    keep(Shape(**shape), click.echo)


main.add_command(keep_, "keep")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON record.")
def status(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show the labs that run, the memory of each host, and the images."""
    require_lab()
    labs = [_lab(record) for record, is_alive in records(lab_root()) if is_alive]
    report = {"labs": labs, "images": built()}
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for lab in labs:
        total = sum(host["memory_bytes"] for host in lab["hosts"])
        click.echo(f"lab `{lab['name']}`: {total / 1e9:.2f} GB, kept by process {lab['owner']}")
        for host in lab["hosts"]:
            state = f"{host['memory_bytes'] / 1e6:.0f} MB" if host["is_on"] else "off"
            click.echo(f"  {host['name']:<8} {host['address']:<14} {state}")
    if not labs:
        click.echo("no lab is running")
    for name, size in built().items():
        click.echo(f"image {name}: {size / 1e6:.0f} MB")


@main.command()
@click.option("--name", default="lab", show_default=True, help="Name of the lab.")
def down(name: str) -> None:
    """End a lab, and sweep away what killed ones left behind."""
    require_lab()
    click.echo(f"lab `{name}` is gone" if stop_keeper(name) else f"no lab named `{name}` is running")
    with swept(lab_root(), report=click.echo):
        pass


@main.command()
def clean() -> None:
    """Remove the images; the next lab builds them again."""
    require_lab()
    with swept(lab_root(), report=click.echo):
        running = [record.name for record, _ in records(lab_root())]
        if running:
            raise LabFailed(f"lab `{running[0]}` stands on the images", hint=down_command(running[0]))
        freed = forget()
    click.echo(f"removed {freed / 1e6:.0f} MB of images")


def _lab(record: Record) -> dict[str, Any]:
    hosts = []
    for name, address in record.hosts.items():
        group = record.group(name)
        memory = group.memory_bytes()
        hosts.append({"name": name, "address": address, "is_on": bool(group.pids()), "memory_bytes": memory})
    return {"name": record.name, "owner": record.owner, "hosts": hosts}


if __name__ == "__main__":
    try:
        main.main(standalone_mode=False)
    except FleetError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        click.echo(f"error: {error.message}{hint}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
