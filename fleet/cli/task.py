"""``fleet task``: send any task of the fleet."""

import click

from fleet.cli.context import Invocation, pass_invocation
from fleet.cli.sending import (
    DurationParam,
    Waiting,
    parse_list,
    parse_object,
    send_and_report,
    sending_options,
)


@click.group(epilog="Start with `fleet task send NAME --wait`.")
def task() -> None:
    """Send any task of the fleet."""


@task.command(
    epilog="""\b
Examples:
  fleet task send fleet.check_urls --wait
  fleet task send shop.charge --json-args '{"order": 7}' --key order-7
  fleet task send shop.report --args '["2026-01"]' --delay 5m"""
)
@click.argument("name")
@click.option(
    "--args",
    default="[]",
    show_envvar=True,
    help="Positional arguments: a JSON list, or @FILE.",
)
@click.option(
    "--kwargs",
    "--json-args",
    "kwargs",
    default="{}",
    show_envvar=True,
    help="Keyword arguments: a JSON object, or @FILE (which keeps them out of the process list).",
)
@click.option("--host", show_envvar=True, help="The host, where the task's queue is per host.")
@click.option("--queue", show_envvar=True, help="The queue, where it is not the task's usual one.")
@click.option(
    "--delay", type=DurationParam(), default="0", show_envvar=True, help="Start no sooner than this."
)
@click.option("--key", show_envvar=True, help="Idempotency key: the same key means the same piece of work.")
@sending_options
@pass_invocation
def send(
    invocation: Invocation,
    *,
    name: str,
    args: str,
    kwargs: str,
    host: str | None,
    queue: str | None,
    delay: int,
    key: str | None,
    waiting: Waiting,
) -> None:
    """Send the task NAME and print its id, once the broker has confirmed it."""
    positional = parse_list(args, option="--args")
    keyword = parse_object(kwargs, option="--kwargs")
    send_and_report(
        invocation,
        waiting,
        lambda client: [
            client.send(name, keyword, args=positional, host=host, queue=queue, delay_seconds=delay, key=key)
        ],
    )
