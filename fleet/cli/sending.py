"""What do all commands that send tasks have in common? Their options, their answer, and waiting."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleet.cli.context import Invocation, emit_json, say
from fleet.errors import BrokerUnreachable, FleetError, OutcomeUnknown, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.client import Client, SentTask, Watch
    from fleet.journal import Outcome
    from fleet.model import Fleet
    from fleet.outbox import Outbox

DEFAULT_TIMEOUT = "10m"


class DurationParam(click.ParamType[int]):
    """Seconds, or a text such as ``30s``, ``5m``, ``2h``, ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds; a wrong text is a usage error."""
        from fleet.config.values import parse_duration

        try:
            return parse_duration(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What happens after the tasks are sent."""

    wait: bool
    timeout_seconds: int
    as_json: bool
    #: broker user to send as; None means the fleet's main user
    user: str | None
    #: keep in the outbox what no broker answers for
    outbox: bool = False
    #: where the outbox is, when not in its usual place; naming it is using it
    outbox_file: str | None = None


def sending_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what all sending commands take; it arrives as one ``waiting``."""

    def with_waiting(
        *args: Any,
        wait: bool,
        timeout: int,
        user: str | None,
        outbox: bool,
        outbox_file: str | None,
        as_json: bool,
        **kwargs: Any,
    ) -> None:
        waiting = Waiting(
            wait=wait,
            timeout_seconds=timeout,
            user=user,
            outbox=outbox,
            outbox_file=outbox_file,
            as_json=as_json,
        )
        command(*args, waiting=waiting, **kwargs)

    with_waiting.__doc__ = command.__doc__
    with_waiting.__name__ = command.__name__
    with_waiting.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        with_waiting = option(with_waiting)
    return with_waiting


outbox_file_option = click.option(
    "--outbox-file",
    envvar="FLEET_OUTBOX_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The outbox's file, on a local disk; `outbox/outbox.sqlite3` in `state_dir` when left out.",
)

_OPTIONS = (
    click.option(
        "--wait", is_flag=True, show_envvar=True, help="Wait for the outcome; exit 1 if it is not success."
    ),
    click.option(
        "--timeout",
        type=DurationParam(),
        default=DEFAULT_TIMEOUT,
        show_default=True,
        show_envvar=True,
        help="How long to wait, such as 30s, 10m or 2h.",
    ),
    click.option("--user", show_envvar=True, help="Send as this user of `[broker.users]`."),
    click.option(
        "--outbox",
        envvar="FLEET_OUTBOX",
        is_flag=True,
        show_envvar=True,
        help="Keep the tasks in this machine's outbox when no broker answers; implied by --outbox-file.",
    ),
    outbox_file_option,
    click.option("--json", "as_json", is_flag=True, show_envvar=True, help="Answer as JSON on stdout."),
)


def send_and_report(
    invocation: Invocation, waiting: Waiting, send: "Callable[[Client], Sequence[SentTask]]"
) -> None:
    """Send, print the ids of the tasks, and with ``--wait`` their outcomes.

    Raises FleetError when every task failed, PartlyDone when some did, OutcomeUnknown when time ran out.
    """
    from fleet.client import Client, require_all

    fleet, outbox = _fleet_and_outbox(invocation, waiting)
    with ExitStack() as stack:
        path = outbox.path if outbox is not None else None
        client = stack.enter_context(Client(fleet, invocation.environ(), user=waiting.user, outbox=path))
        # Opened first, so that no outcome is missed and nothing is sent that could not be waited for.
        watch = _watch(stack, client, with_outbox=outbox is not None) if waiting.wait else None
        sent = send(client)
        if not waiting.as_json:
            click.echo("\n".join(task.id for task in sent))
        kept = [task for task in sent if task.in_outbox]
        if outbox is not None and kept:
            say(f"{len(kept)} of {len(sent)} tasks wait in {outbox.path}: `fleet outbox forward` sends them")
        if not waiting.wait:
            if waiting.as_json:
                emit_json([asdict(task) for task in sent])
            return
        wanted = frozenset(task.id for task in sent if not task.in_outbox)
        found = _wait_for(watch, wanted, waiting.timeout_seconds)
    _show(sent, found, as_json=waiting.as_json)
    _require_success(sent, found)
    require_all(wanted, found, waiting.timeout_seconds)
    _require_none_kept(kept, sent)


def _fleet_and_outbox(invocation: Invocation, waiting: Waiting) -> "tuple[Fleet, Outbox | None]":
    fleet = invocation.load()
    if not waiting.outbox and waiting.outbox_file is None:
        return fleet, None
    from fleet.ops.outbox import open_outbox

    return fleet, open_outbox(fleet, waiting.outbox_file)


def _watch(stack: ExitStack, client: "Client", *, with_outbox: bool) -> "Watch | None":
    """Return what sees the outcomes, or None where the tasks are going to the outbox, which has none."""
    try:
        return stack.enter_context(client.watch())
    except BrokerUnreachable:
        if not with_outbox:
            raise
        return None


def _wait_for(watch: "Watch | None", wanted: frozenset[str], seconds: int) -> "Mapping[str, Outcome]":
    if watch is None or not wanted:
        return {}
    say(f"sent; waiting for at most {seconds} s")
    return watch.wait_for(wanted, timeout_seconds=seconds)


def _require_none_kept(kept: "Sequence[SentTask]", sent: "Sequence[SentTask]") -> None:
    if kept:
        raise OutcomeUnknown(
            f"{len(kept)} of {len(sent)} tasks are in the outbox, and have no outcome before they are sent",
            hint="run `fleet outbox forward` when the broker is back",
        )


def parse_json(text: str, *, option: str, example: str) -> object:
    """Return the JSON value of ``text``, of file ``@PATH``, or of stdin (``@-``).

    Raises UsageError that names ``option``.
    """
    try:
        source = _read(text[1:]) if text.startswith("@") else text
        return json.loads(source)
    except OSError as error:
        raise UsageError(f"{option}: `{text[1:]}` cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{option} is no JSON: {error}", hint=f"such as {option} '{example}', or {option} @FILE"
        ) from error


def parse_object(text: str, *, option: str) -> Mapping[str, object]:
    """Return the JSON object of ``text`` or ``@PATH``. Raises UsageError when it is something else."""
    value = parse_json(text, option=option, example='{"name": "Ann"}')
    if not isinstance(value, dict):
        raise UsageError(f"{option} needs a JSON object, not {_kind(value)}", hint='such as {"name": "Ann"}')
    return value


def parse_list(text: str, *, option: str) -> Sequence[object]:
    """Return the JSON list of ``text`` or ``@PATH``. Raises UsageError when it is something else."""
    value = parse_json(text, option=option, example="[1, 2]")
    if not isinstance(value, list):
        raise UsageError(f"{option} needs a JSON list, not {_kind(value)}", hint="such as [1, 2]")
    return value


def _read(path: str) -> str:
    return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _show(sent: "Sequence[SentTask]", found: "Mapping[str, Outcome]", *, as_json: bool) -> None:
    if as_json:
        emit_json(
            [
                asdict(task) | {"outcome": found[task.id]._asdict() if task.id in found else None}
                for task in sent
            ]
        )
        return
    for task in sent:
        say(f"{_subject(task)}: {_describe(found.get(task.id))}")


def _subject(task: "SentTask") -> str:
    return f"{task.task} on {task.host}" if task.host else f"{task.task} {task.id}"


def _describe(outcome: "Outcome | None") -> str:
    if outcome is None:
        return "not known yet"
    took = f" in {outcome.runtime_seconds:.1f} s" if outcome.runtime_seconds is not None else ""
    reason = ": ".join(part for part in (outcome.error, outcome.message) if part)
    return f"{outcome.outcome}{took}{f' ({reason})' if reason else ''}"


def _require_success(sent: "Sequence[SentTask]", found: "Mapping[str, Outcome]") -> None:
    failed = [task for task in sent if task.id in found and not found[task.id].succeeded]
    if not failed:
        return
    subjects = "; ".join(f"{_subject(task)}: {_describe(found[task.id])}" for task in failed)
    message = f"{len(failed)} of {len(sent)} tasks did not succeed: {subjects}"
    hint = "see the worker's log, and `fleet dead-letters list` for what was given up"
    if len(failed) < len(sent):
        raise PartlyDone(message, hint=hint)
    raise FleetError(message, hint=hint)
