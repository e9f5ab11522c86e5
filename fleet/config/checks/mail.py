"""Can mail leave the fleet, safely and from a valid sender; and which URLs can be asked for?"""

from fleet.config.address import check_http_url, is_loopback
from fleet.config.checks.draft import Draft
from fleet.mail.address import InvalidAddress, parse_address
from fleet.model import SEND_MAIL_TASK, Smtp
from fleet.routes import allows, serving_hosts


def check_carrier(draft: Draft) -> None:
    """There is exactly one of ``[mail.smtp]`` and ``[mail.sendgrid]``, and no secret travels in the clear."""
    mail = draft.fleet.mail
    if mail is None:
        return
    if (mail.smtp is None) == (mail.sendgrid is None):
        draft.problems.add(("mail",), "needs exactly one of [mail.smtp] and [mail.sendgrid]")
    if mail.smtp is not None:
        _check_smtp(draft, mail.smtp)
    if mail.sendgrid is not None:
        _check_sendgrid(draft, mail.sendgrid.url)
    if mail.retry_base_seconds > mail.retry_max_seconds:
        draft.problems.add(
            ("mail", "retry_base"),
            f"the first delay, {mail.retry_base_seconds:g} s, is above retry_max, "
            f"{mail.retry_max_seconds:g} s",
        )


def _check_smtp(draft: Draft, smtp: Smtp) -> None:
    if smtp.security == "none" and not is_loopback(smtp.host):
        draft.problems.add(
            ("mail", "smtp", "security"),
            f"`none` sends mail to {smtp.host} in the clear",
            hint="use starttls or tls",
        )
    if (smtp.user is None) != (smtp.password is None):
        draft.problems.add(("mail", "smtp"), "`user` and `password` go together")
    if smtp.ca is not None and smtp.security == "none":
        draft.problems.add(("mail", "smtp", "ca"), "has no effect without TLS")


def _check_sendgrid(draft: Draft, url: str) -> None:
    path = ("mail", "sendgrid", "url")
    check_http_url(url, path, draft.problems, example="https://api.sendgrid.com")
    host = url.removeprefix("http://").partition("/")[0].partition(":")[0]
    if url.startswith("http://") and not is_loopback(host):
        draft.problems.add(path, "would send the API key in the clear", hint="write https://")


def check_sender(draft: Draft) -> None:
    """``from`` is one mail address."""
    mail = draft.fleet.mail
    if mail is None:
        return
    try:
        parse_address(mail.sender, role="sender")
    except InvalidAddress as error:
        draft.problems.add(("mail", "from"), error.message, hint=error.hint)


def check_queue(draft: Draft) -> None:
    """The queue exists, is not per host, lets ``fleet.send_mail`` run and is served."""
    mail = draft.fleet.mail
    path = ("mail", "queue")
    queue = draft.queue(mail.queue, path) if mail else None
    if queue is None:
        return
    if not allows(queue, SEND_MAIL_TASK):
        draft.problems.add(path, f"queue `{queue.name}` does not allow task `{SEND_MAIL_TASK}`")
    if queue.per_host:
        draft.problems.add(path, f"queue `{queue.name}` is per_host, and mail may leave from any host")
    if queue.name not in draft.file.queues and not serving_hosts(draft.fleet, queue):
        draft.problems.add(
            path,
            f"no worker serves queue `{queue.name}`",
            hint=f'add "{queue.name}" to `queues` of a worker',
        )


def check_urls(draft: Draft) -> None:
    """A URL to be checked is http or https and holds no credentials."""
    for check in draft.fleet.url_checks:
        path = ("urls", check.name, "url")
        check_http_url(check.url, path, draft.problems, example="https://shop.example.org/")
