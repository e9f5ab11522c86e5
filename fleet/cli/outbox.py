"""``fleet outbox``: see, forward and settle what this machine keeps while no broker answers."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.cli.outbox_forward import forward
from fleet.cli.sending import outbox_file_option
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.ops.outbox import ListedTask

#: what a limit may be at most; the outbox's file holds no number beyond 2**63 - 1
_MOST_TASKS, _MOST_BYTES = 10**9, 10**15


@click.group(epilog="Start with `fleet outbox status`.")
def outbox() -> None:
    """See, forward and settle the tasks that this machine keeps while no broker answers."""


@outbox.command(
    epilog="""\b
Examples:
  fleet outbox status
  fleet outbox status --json"""
)
@outbox_file_option
@json_option
@pass_invocation
def status(invocation: Invocation, *, outbox_file: str | None, as_json: bool) -> None:
    """Show how many tasks wait for which queue, since when, and what they wait for."""
    from rich.filesize import decimal

    from fleet.ops.outbox import open_outbox, outbox_status

    found = outbox_status(open_outbox(invocation.load(), outbox_file))
    if as_json:
        emit_json(asdict(found))
        return
    if found.queues:
        emit_table(
            ("queue", "tasks", "size", "oldest", "refused"),
            [
                (queue.queue, str(queue.messages), decimal(queue.bytes), queue.oldest, queue.refusal or "")
                for queue in found.queues
            ],
        )
    say(
        f"{found.path}: {found.messages} of at most {found.max_messages} tasks, "
        f"{found.bytes} of at most {found.max_bytes} bytes; "
        + (f"last forwarded {found.last_forward}" if found.last_forward else "never forwarded")
    )


@outbox.command(
    "list",
    epilog="""\b
Examples:
  fleet outbox list
  fleet outbox list --queue fleet.email --json""",
)
@click.option("--queue", show_envvar=True, help="Only what waits for this queue of the broker.")
@outbox_file_option
@json_option
@pass_invocation
def list_command(
    invocation: Invocation, *, queue: str | None, outbox_file: str | None, as_json: bool
) -> None:
    """List the tasks that wait, first come first. Their arguments are not shown."""
    from fleet.ops.outbox import list_tasks, open_outbox

    tasks = list_tasks(open_outbox(invocation.load(), outbox_file), queue=queue)
    if as_json:
        emit_json([asdict(task) for task in tasks])
    elif tasks:
        _show(tasks)
    else:
        say("no tasks wait")


@outbox.command(
    epilog="""\b
Examples:
  fleet outbox discard 12
  fleet outbox discard 12 13 --yes"""
)
@click.argument("numbers", nargs=-1, required=True, type=click.IntRange(min=1), metavar="NUMBER...")
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask.")
@outbox_file_option
@json_option
@pass_invocation
def discard(
    invocation: Invocation, *, numbers: tuple[int, ...], yes: bool, outbox_file: str | None, as_json: bool
) -> None:
    """Forget the tasks with these numbers of `fleet outbox list` for good: they will never run.

    For a task that the broker will never take, and that others of its queue wait behind.
    """
    from fleet.ops.outbox import find_tasks, open_outbox

    box = open_outbox(invocation.load(), outbox_file)
    tasks = find_tasks(box, numbers)
    if tasks and not as_json:
        _show(tasks)
    if len(tasks) == len(set(numbers)) and not yes:
        _ask(len(tasks))
    box.discard(numbers)
    if as_json:
        emit_json([asdict(task) for task in tasks])
    say(f"discarded {len(tasks)} tasks")


@outbox.command(
    epilog="""\b
Examples:
  fleet outbox limit --messages 50000
  fleet outbox limit --bytes 512M --json"""
)
@click.option(
    "--messages", type=click.IntRange(1, _MOST_TASKS), show_envvar=True, help="Keep at most this many tasks."
)
@click.option("--bytes", "size", show_envvar=True, help="Keep at most so much, such as 64M or 1G.")
@outbox_file_option
@json_option
@pass_invocation
def limit(
    invocation: Invocation, *, messages: int | None, size: str | None, outbox_file: str | None, as_json: bool
) -> None:
    """Set how much the outbox keeps before it refuses more; the limits are kept in its file.

    What it holds already stays, even when that is more.
    """
    from fleet.ops.outbox import limit_outbox, open_outbox

    if messages is None and size is None:
        raise UsageError("no limit is given", hint="add `--messages`, `--bytes` or both")
    limit_bytes = None if size is None else _size(size)
    box = open_outbox(invocation.load(), outbox_file)
    found = limit_outbox(box, messages=messages, size=limit_bytes)
    if as_json:
        emit_json(asdict(found))
        return
    say(f"{found.path} keeps at most {found.max_messages} tasks and {found.max_bytes} bytes")


def _size(text: str) -> int:
    from fleet.config.values import parse_size

    try:
        size = parse_size(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise UsageError(f"--bytes {error}") from error
    if size > _MOST_BYTES:
        raise UsageError(f"--bytes must be at most {_MOST_BYTES}")
    return size


def _show(tasks: "tuple[ListedTask, ...]") -> None:
    emit_table(
        ("number", "queue", "task", "id", "sent", "refused"),
        [
            (str(task.number), task.queue, task.task, task.id, task.first_sent, task.refusal or "")
            for task in tasks
        ],
    )


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError("discarding asks first, and nobody can answer", hint="add `--yes`")
    click.confirm(f"discard {count} tasks for good?", abort=True, err=True)


outbox.add_command(forward)
