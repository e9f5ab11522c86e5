"""``fleet outbox forward``: send what the outbox keeps."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.sending import DurationParam, outbox_file_option
from fleet.errors import BrokerUnreachable, FleetError, OutboxUnusable, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.outbox import Forwarded, Outbox


@click.command(
    epilog="""\b
Examples:
  fleet outbox forward
  fleet outbox forward --user shop --outbox-file /var/lib/shop/outbox.sqlite3
  fleet outbox forward --every 30s"""
)
@click.option("--user", show_envvar=True, help="Send as this user of `[broker.users]`.")
@click.option(
    "--every",
    type=DurationParam(),
    show_envvar=True,
    help="Go on until Ctrl-C or SIGTERM, and look again after so long, such as 30s.",
)
@outbox_file_option
@json_option
@pass_invocation
def forward(
    invocation: Invocation, *, user: str | None, every: int | None, outbox_file: str | None, as_json: bool
) -> None:
    """Send what the outbox keeps, each queue's tasks in the order in which they were first sent.

    A task that the broker refuses keeps its place with the reason, and those of its queue wait behind it.
    Exit code 0: the outbox is empty. 3: some tasks were sent and some stay. 1: none was sent.
    5: no broker answers, or none any more.
    """
    from fleet.ops.outbox import forwarder, open_outbox

    if every is not None and (as_json or every < 1):
        raise UsageError("--every takes at least one second, and tells what it does on stderr only")
    fleet = invocation.load()
    outbox = open_outbox(fleet, outbox_file)
    with forwarder(fleet, outbox, invocation.environ(), user=user) as run:
        if every is not None:
            _go_on(run, every)
            return
        with _progress(outbox) as on_delivered:
            done = run(on_delivered=on_delivered)
    if as_json:
        emit_json(_record(done))
    else:
        say(f"sent {done.delivered} tasks; {done.left} stay in {outbox.path}")
    _require_empty(done)


def _go_on(run: "Callable[..., Forwarded]", seconds: int) -> None:
    from fleet.beat.stop import StopSignal

    told = ""
    with StopSignal() as stop:
        while not stop.is_set:
            news = _one_round(run, stop_asked=lambda: stop.is_set)
            if news != told:
                say(news or "the outbox is empty")
            told = news
            stop.wait(seconds)


def _one_round(run: "Callable[..., Forwarded]", *, stop_asked: Callable[[], bool]) -> str:
    """Forward once and return what there is to tell; a trouble that may pass ends nothing."""
    try:
        done = run(is_over=stop_asked)
        if done.delivered:
            say(f"sent {done.delivered} tasks; {done.left} stay")
        _require_empty(done)
    except OutboxUnusable:
        raise
    except FleetError as error:
        return error.message
    return ""


def _require_empty(done: "Forwarded") -> None:
    """Raise what keeps tasks in the outbox."""
    if done.stopped is not None:
        raise BrokerUnreachable(
            f"{done.stopped.message}; {done.left} tasks stay in the outbox", hint=done.stopped.hint
        )
    if not done.held:
        return
    reasons = "; ".join(f"task {held.task_id} (number {held.number}): {held.reason}" for held in done.held)
    message = f"{done.left} tasks stay in the outbox: {reasons}"
    settle = f"or `fleet outbox discard {done.held[0].number}`, and the others go on"
    hint = "; ".join(filter(None, (done.held[0].hint, settle)))
    if done.delivered:
        raise PartlyDone(message, hint=hint)
    raise FleetError(message, hint=hint)


def _record(done: "Forwarded") -> dict[str, object]:
    return {
        "delivered": done.delivered,
        "left": done.left,
        "held": [
            {"queue": held.queue, "number": held.number, "id": held.task_id, "reason": held.reason}
            for held in done.held
        ],
        "stopped": done.stopped.message if done.stopped else None,
    }


@contextmanager
def _progress(outbox: "Outbox") -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("forwarding", total=outbox.backlog().volume.messages)
        yield lambda: bars.advance(bar)
