"""``fleet mail``: preview, check and send mail."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.errors import ProblemsFound, UsageError

if TYPE_CHECKING:
    from fleet.ops.mail import MailCheck, TemplateCheck


@click.group(epilog="Start with `fleet mail check`.")
def mail() -> None:
    """Send and preview mail."""


@mail.command(
    epilog="""\b
Examples:
  fleet mail preview --template welcome
  fleet mail preview --template welcome --context '{"name": "Ann"}'
  fleet mail preview --template welcome --html > welcome.html
"""
)
@click.option("--template", required=True, show_envvar=True, help="The template's name.")
@click.option(
    "--context",
    show_envvar=True,
    help="The template's variables: a JSON object, or @FILE.  [default: NAME.example.json]",
)
@click.option("--to", show_envvar=True, help="A recipient.  [default: someone@example.org]")
@click.option("--html", is_flag=True, show_envvar=True, help="Show the HTML part only, for a browser.")
@json_option
@pass_invocation
def preview(
    inv: Invocation, *, template: str, context: str | None, to: str | None, html: bool, as_json: bool
) -> None:
    """Show a mail as it would go out, and send nothing."""
    from fleet.ops.mail import PREVIEW_RECIPIENT, preview_mail

    variables = None if context is None else _object(context)
    fleet = inv.load()
    shown = preview_mail(
        fleet, template=template, context=variables, now=datetime.now(UTC), to=to or PREVIEW_RECIPIENT
    )
    if as_json:
        emit_json(shown)
    elif html:
        if shown.html is None:
            raise UsageError(f"template `{template}` has no HTML part", hint="leave out `--html`")
        click.echo(shown.html)
    else:
        lines = [f"{name}: {value}" for name, value in shown.headers.items()]
        click.echo("\n".join([*lines, "", shown.text]))
        if shown.html is not None:
            say(f"and an HTML part of {len(shown.html)} characters: add `--html` to see it")


@mail.command(
    epilog="""\b
Examples:
  fleet mail check
  fleet mail check --connect
"""
)
@click.option("--connect", is_flag=True, show_envvar=True, help="Also log in at the server; nothing is sent.")
@json_option
@pass_invocation
def check(inv: Invocation, *, connect: bool, as_json: bool) -> None:
    """Check every template, and with --connect the server's certificate and login.

    A template that has an example context (NAME.example.json) is rendered with it, others are parsed.
    Exit code 4 when there is a problem.
    """
    from fleet.ops.mail import check_mail

    found = check_mail(inv.load(), connect=connect, environ=inv.environ(), now=datetime.now(UTC))
    if as_json:
        emit_json(found)
    else:
        _show(found)
    if found.problem_count:
        raise ProblemsFound(_summary(found), hint="see `docs/how-to/send-mail.md`")


def _show(found: "MailCheck") -> None:
    emit_table(
        ("template", "state", "expects"),
        [(template.name, _state(template), ", ".join(template.variables)) for template in found.templates],
    )
    say(f"mail leaves by {found.way}{': logged in' if found.connected else ''}")


def _state(template: "TemplateCheck") -> str:
    if template.problem is not None:
        return "problem"
    return "renders" if template.rendered else "parses"


def _summary(found: "MailCheck") -> str:
    problems = [
        *found.problems,
        *(f"{template.name}: {template.problem}" for template in found.templates if template.problem),
    ]
    return "\n".join([f"{len(problems)} found:", *(f"  {problem}" for problem in problems)])


def _object(text: str) -> Mapping[str, object]:
    from fleet.cli.sending import parse_object

    return parse_object(text, option="--context")


if find_spec("fleet.cli.mail_send") is not None:
    mail.add_command(import_module("fleet.cli.mail_send").send)
