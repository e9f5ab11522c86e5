"""``fleet mail send``: send a templated mail."""

import click

from fleet.cli.context import Invocation, pass_invocation
from fleet.cli.sending import Waiting, parse_object, send_and_report, sending_options


@click.command(
    epilog="""\b
Examples:
  fleet mail send --to ann@example.org --template welcome --context '{"name": "Ann"}'
  fleet mail send --to ann@example.org --template invoice --context @invoice.json --key invoice-42 --wait"""
)
@click.option(
    "--to", "recipients", required=True, multiple=True, show_envvar=True, help="A recipient; repeatable."
)
@click.option("--template", required=True, show_envvar=True, help="The template's name.")
@click.option(
    "--context", default="{}", show_envvar=True, help="The template's variables: a JSON object, or @FILE."
)
@click.option(
    "--key", show_envvar=True, help="Idempotency key: mails of one key to one address have one Message-ID."
)
@sending_options
@pass_invocation
def send(
    invocation: Invocation,
    *,
    recipients: tuple[str, ...],
    template: str,
    context: str,
    key: str | None,
    waiting: Waiting,
) -> None:
    """Send a mail to each recipient, in a task of its own, and print the tasks' ids."""
    variables = parse_object(context, option="--context")
    send_and_report(
        invocation,
        waiting,
        lambda client: client.mails(recipients, template, variables, key=key),
    )
