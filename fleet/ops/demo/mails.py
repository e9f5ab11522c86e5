"""Does every mail arrive once, or end where somebody sees it?"""

import json
from collections import Counter
from typing import Any

from fleet.ops.demo.broker import queue_depth
from fleet.ops.demo.claims import Claim
from fleet.ops.demo.sandbox import Sandbox, await_true
from fleet.ops.demo.setup import BUSY, GONE

MAILS = 50
WAIT = "30s"
DEAD_LETTERS = "fleet.email.dlq"


def show_mails(sandbox: Sandbox) -> list[Claim]:
    """Send mails to 50 recipients: one server refuses at first, another one for good."""
    sandbox.report(f"sending {MAILS} mails, one of them to a busy mailbox and one to nobody")
    recipients = [f"customer{number}@example.org" for number in range(1, MAILS - 1)] + [BUSY, GONE]
    to = [argument for recipient in recipients for argument in ("--to", recipient)]
    context = json.dumps({"name": "Ada", "order": "A-1815"})
    sending = ("mail", "send", *to, "--template", "receipt", "--context", context)
    done = sandbox.fleet(*sending, "--wait", "--timeout", WAIT, "--json").expect(3)
    outcomes = Counter(_outcome(task) for task in json.loads(done.stdout))
    return [_arrived(sandbox, outcomes), _retried(sandbox), _dead_lettered(sandbox)]


def _outcome(task: dict[str, Any]) -> str:
    return str(task["outcome"]["outcome"]) if task["outcome"] else "unknown"


def _arrived(sandbox: Sandbox, outcomes: Counter[str]) -> Claim:
    arrived = Counter(recipient for mail in sandbox.sink.messages() for recipient in mail.recipients)
    twice = sum(count > 1 for count in arrived.values())
    seen = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    return Claim(
        claim=f"of {MAILS} templated mails, each arrives once",
        evidence=f"{len(arrived)} recipients have theirs, {twice} of them twice; outcomes: {seen}",
        ok=len(arrived) == MAILS - 1 and not twice and outcomes["succeeded"] == MAILS - 1,
    )


def _retried(sandbox: Sandbox) -> Claim:
    refused = [reply for recipient, reply in sandbox.sink.answers() if recipient == BUSY]
    arrived = [mail for mail in sandbox.sink.messages() if BUSY in mail.recipients]
    return Claim(
        claim="a transient failure is tried again",
        evidence=f"{BUSY}: first `{refused[0] if refused else 'never asked'}`, then {len(arrived)} delivered",
        ok=len(refused) == 1 and len(arrived) == 1,
    )


def _dead_lettered(sandbox: Sandbox) -> Claim:
    asked = sum(recipient == GONE for recipient, _ in sandbox.sink.answers())
    await_true(
        lambda: queue_depth(sandbox, DEAD_LETTERS) == 1,
        what=f"one message in {DEAD_LETTERS}",
        timeout_seconds=10,
    )
    return Claim(
        claim="a permanent failure is not tried again, and not lost",
        evidence=f"{GONE}: asked {asked} time, then kept in {DEAD_LETTERS}",
        ok=asked == 1,
    )
