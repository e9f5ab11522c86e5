"""How would a mail look, and could the fleet's mail go out at all?"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from fleet.errors import FleetError, UsageError
from fleet.mail import esp, smtp
from fleet.mail.files import open_templates, read_file, template_names
from fleet.mail.message import OutgoingMail, compose
from fleet.mail.names import check_template_name
from fleet.mail.send import prepare
from fleet.mail.templates import EXAMPLE_SUFFIX, variables
from fleet.model import Fleet, Mail
from fleet.secrets import resolve

#: whom a preview addresses (RFC 2606)
PREVIEW_RECIPIENT = "someone@example.org"
_PREVIEW_KEY = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A mail as it would go out, readable."""

    #: in their order on the wire, decoded
    headers: Mapping[str, str]
    text: str
    html: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateCheck:
    """What is known about one template."""

    name: str
    #: what it expects in its context
    variables: tuple[str, ...] = ()
    #: it was rendered with ``NAME.example.json``, not only parsed
    rendered: bool = False
    #: what is wrong with it; None when nothing is
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailCheck:
    """What is known about the fleet's way to send mail."""

    templates: tuple[TemplateCheck, ...]
    #: how mail leaves: server and security, or URL
    way: str
    #: connected and logged in just now; False when that was not asked for or failed
    connected: bool
    #: what is wrong beside the templates
    problems: tuple[str, ...]

    @property
    def problem_count(self) -> int:
        """Return how many things are wrong."""
        return len(self.problems) + sum(template.problem is not None for template in self.templates)


def preview_mail(
    fleet: Fleet,
    *,
    template: str,
    context: Mapping[str, object] | None,
    now: datetime,
    to: str = PREVIEW_RECIPIENT,
) -> Preview:
    """Return what ``template`` would send to ``to``; without a context, its example file's is taken.

    Raises UsageError, BadTemplate with file and line, InvalidAddress.
    """
    mail = _mail(fleet)
    check_template_name(template)
    if context is None:
        context = _example(mail, template) or {}
    outgoing = _outgoing(mail, template, context, to=to, now=now)
    message = message_from_bytes(compose(outgoing), policy=default)
    inner = {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}
    return Preview(
        headers={name: str(value) for name, value in message.items() if name not in inner},
        text=outgoing.content.text,
        html=outgoing.content.html,
    )


def check_mail(fleet: Fleet, *, connect: bool, environ: Mapping[str, str], now: datetime) -> MailCheck:
    """Check every template, and with ``connect`` the server's certificate and login; nothing is sent.

    Raises UsageError when the fleet has no [mail].
    """
    mail = _mail(fleet)
    problems = []
    templates: tuple[TemplateCheck, ...] = ()
    try:
        templates = tuple(_check_template(mail, name, now) for name in template_names(mail.templates))
    except UsageError as error:
        problems.append(error.message)
    connected = False
    if connect:
        try:
            _connect(mail, environ, now)
            connected = True
        except FleetError as error:
            problems.append(error.message)
    return MailCheck(templates=templates, way=_way(mail), connected=connected, problems=tuple(problems))


def _mail(fleet: Fleet) -> Mail:
    if fleet.mail is None:
        raise UsageError(f"{fleet.source} has no [mail]", hint="`fleet init` writes an example of it")
    return fleet.mail


def _outgoing(
    mail: Mail, template: str, context: Mapping[str, object], *, to: str, now: datetime
) -> OutgoingMail:
    return prepare(mail, to=to, template=template, context=context, key=_PREVIEW_KEY, now=now)


def _check_template(mail: Mail, name: str, now: datetime) -> TemplateCheck:
    try:
        templates = open_templates(mail.templates)
        expected = variables(templates, name)
        example = _example(mail, name)
        if example is not None:
            compose(_outgoing(mail, name, example, to=PREVIEW_RECIPIENT, now=now))
    except UsageError as error:
        return TemplateCheck(name=name, problem=error.message)
    return TemplateCheck(name=name, variables=expected, rendered=example is not None)


def _example(mail: Mail, template: str) -> Mapping[str, object] | None:
    file = template + EXAMPLE_SUFFIX
    text = read_file(Path(mail.templates), file)
    if text is None:
        return None
    place, hint = f"{mail.templates}/{file}", 'write a JSON object, such as {"name": "Ann"}'
    try:
        example = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{place}: it is no JSON: {error}", hint=hint) from error
    if not isinstance(example, dict):
        raise UsageError(f"{place}: it is no JSON object", hint=hint)
    return example


def _connect(mail: Mail, environ: Mapping[str, str], now: datetime) -> None:
    if mail.smtp is not None:
        password = resolve(mail.smtp.password, environ=environ) if mail.smtp.password else None
        smtp.check_login(mail.smtp, password=password)
    if mail.sendgrid is not None:
        esp.check_key(mail.sendgrid, api_key=resolve(mail.sendgrid.api_key, environ=environ), now=now)


def _way(mail: Mail) -> str:
    if mail.sendgrid is not None:
        return mail.sendgrid.url
    return f"{mail.smtp.host}:{mail.smtp.port} ({mail.smtp.security})" if mail.smtp else "none"
