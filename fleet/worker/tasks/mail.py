"""The task that sends one mail to one recipient, and tries again when that can help."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any, NoReturn

from celery import Celery

from fleet.errors import UsageError
from fleet.mail.policy import Action, Kind, MailFailure, decide
from fleet.mail.send import Delivery, deliver
from fleet.model import SEND_MAIL_TASK, Fleet, Mail
from fleet.publish.message import KEY_HEADER
from fleet.worker.task import FleetTask

log = logging.getLogger(__name__)


def register(app: Celery) -> None:
    """Add the task ``fleet.send_mail`` to ``app``."""
    app.task(_send_mail_task, name=SEND_MAIL_TASK, base=FleetTask, bind=True, shared=False, max_retries=None)


def _send_mail_task(
    task: FleetTask,
    to: str,
    template: str,
    context: Mapping[str, object] | None = None,
    key: str | None = None,
) -> dict[str, str]:
    """Send what ``template`` says with ``context`` to the one address ``to``.

    ``key`` is the idempotency key: every attempt of one key has the same Message-ID. Without it the one that
    the sender stamped counts, or else the task's id, which retries and redeliveries keep.
    """
    fleet: Fleet = task.app.fleet_context.fleet
    if fleet.mail is None:
        raise UsageError(f"{fleet.source} has no [mail]", hint="add [mail] to the fleet file")
    try:
        delivery = deliver(
            fleet.mail,
            to=to,
            template=template,
            context=context or {},
            key=key or getattr(task.request, KEY_HEADER, None) or task.request.id,
            environ=task.app.fleet_context.environ,
            now=datetime.now(UTC),
        )
    except MailFailure as failure:
        _settle(task, failure, fleet.mail, template)
    log.info("a mail was accepted", extra=_fields(template, delivery))
    return {"message_id": delivery.message_id, "via": delivery.via, "answer": delivery.answer}


def _settle(task: FleetTask, failure: MailFailure, mail: Mail, template: str) -> NoReturn:
    """Retry later or fail for good; neither log nor error names an address."""
    attempt = task.request.retries + 1
    decision = decide(failure.verdict, mail=mail, attempt=attempt, chance=SystemRandom().random())
    level = logging.ERROR if failure.kind is Kind.CONFIGURATION else logging.WARNING
    log.log(
        level,
        "a mail was not accepted: %s",
        failure,
        extra={"event": "mail_failed", "template": template, "kind": failure.kind, "attempt": attempt},
    )
    if decision.action is Action.DEAD_LETTER:
        raise failure
    task.retry_later(failure, delay_seconds=decision.delay_seconds, max_attempts=mail.max_attempts)


def _fields(template: str, delivery: Delivery) -> dict[str, Any]:
    return {
        "event": "mail_accepted",
        "template": template,
        "message_id": delivery.message_id,
        "via": delivery.via,
    }
