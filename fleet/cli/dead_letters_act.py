"""``fleet dead-letters replay`` and ``discard``: deal with dead letters, and say what became of them."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from types import FrameType
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.selecting import Selecting, selecting_options
from fleet.errors import FleetError, PartlyDone, UsageError

if TYPE_CHECKING:
    from fleet.ops.letters.access import Access
    from fleet.ops.letters.act import Report
    from fleet.ops.letters.acting import Watcher, Wish

    Act = Callable[[Access, Wish, Watcher], Iterator[Report]]

_limit = click.option("--limit", type=click.IntRange(1), show_envvar=True, help="At most so many.")
_all = click.option(
    "--all", "everything", is_flag=True, show_envvar=True, help="All of them: no other option selects."
)
_dry_run = click.option(
    "--dry-run", is_flag=True, show_envvar=True, help="Only say how many it would be, and which could not."
)
_yes = click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask.")


@click.command(
    epilog="""\b
Examples:
  fleet dead-letters replay --queue email --exception SMTPServerDisconnected --dry-run
  fleet dead-letters replay --reason unknown_task --newer-than 2h --yes
  fleet dead-letters replay --id 5f2c1d9e-0b7a-4d57-9d0e-0a4f3c1b2a10 --max-replays 10"""
)
@selecting_options
@_all
@_limit
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10_000),
    default=20.0,
    show_default=True,
    show_envvar=True,
    help="Letters per second, at most.",
)
@click.option(
    "--max-replays",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    show_envvar=True,
    help="Leave what was replayed as often and came back.",
)
@_dry_run
@_yes
@json_option
@pass_invocation
def replay(
    invocation: Invocation,
    *,
    selecting: Selecting,
    everything: bool,
    limit: int | None,
    rate: float,
    max_replays: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send dead letters back to the queue that each came from, with all their attempts again.

    A letter leaves its dead-letter queue only when the broker has confirmed the copy, so an interruption, a
    kill included, loses nothing; it can make a task run twice under the same id. Each replay is noted in
    the journal. Exit code 3: some could not be replayed and stay.
    """
    from fleet.ops.letters.acting import Wish, replay_letters

    wish = Wish(
        selection=selecting.selection(), rate=rate, limit=limit, dry_run=dry_run, max_replays=max_replays
    )
    _require_choice(selecting, everything=everything)
    _deal(selecting.access(invocation), wish, replay_letters, word="replayed", yes=yes, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  fleet dead-letters discard --queue email --older-than 30d --dry-run
  fleet dead-letters discard --id 5f2c1d9e-0b7a-4d57-9d0e-0a4f3c1b2a10"""
)
@selecting_options
@_all
@_limit
@_dry_run
@_yes
@json_option
@pass_invocation
def discard(
    invocation: Invocation,
    *,
    selecting: Selecting,
    everything: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give dead letters up for good. Each is noted in the journal first; `export` keeps a copy."""
    from fleet.ops.letters.acting import Wish, discard_letters

    _require_choice(selecting, everything=everything)
    wish = Wish(selection=selecting.selection(), rate=_AT_ONCE, limit=limit, dry_run=dry_run)
    _deal(selecting.access(invocation), wish, discard_letters, word="discarded", yes=yes, as_json=as_json)


#: discarding costs the fleet's workers nothing
_AT_ONCE = 10_000.0


def _require_choice(selecting: Selecting, *, everything: bool) -> None:
    chosen = bool(selecting.queues) or not selecting.selection().is_everything
    if chosen == everything:
        what = "`--all` and a selection exclude each other" if chosen else "nothing says which are meant"
        raise UsageError(what, hint="give `--queue`, `--task`, `--reason`, `--id` … or `--all`")


def _deal(access: "Access", wish: "Wish", act: "Act", *, word: str, yes: bool, as_json: bool) -> None:
    started = time.monotonic()
    if not (wish.dry_run or yes):
        _ask(access, wish, act, word)
    reports: list[Report] = []
    with _counted(word) as count:
        try:
            reports.extend(act(access, wish, count.watcher()))
        except FleetError:
            say(f"{count.done} dead letters {word} before it failed; running it again is safe")
            raise
    done = sum(report.done for report in reports)
    if as_json:
        emit_json({"dry_run": wish.dry_run, word: done, "queues": [asdict(report) for report in reports]})
    _say_hindrances(reports)
    for report in reports:
        if report.doubt:
            say(f"some that were {word} may be in {report.dead_letter_queue} again: {report.doubt}")
    would = "would be " if wish.dry_run else ""
    say(f"{done} dead letters {would}{word} in {time.monotonic() - started:.1f} s")
    if count.is_interrupted:
        raise KeyboardInterrupt
    _require_any(wish, reports)
    if not wish.dry_run:
        _raise_unless_all(reports, done, word)


def _ask(access: "Access", wish: "Wish", act: "Act", word: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "stdin is no terminal to ask on; nothing was done",
            hint="add `--yes` to do it without a question, or `--dry-run` to only look",
        )
    with _counted(word) as count:
        reports = list(act(access, replace(wish, dry_run=True), count.watcher()))
    if count.is_interrupted:
        raise KeyboardInterrupt
    _say_hindrances(reports)
    number = sum(report.done for report in reports)
    if not number:
        raise FleetError("no dead letter is meant that could be dealt with; nothing was done")
    if not click.confirm(f"{number} dead letters would be {word}; do it?", err=True):
        raise FleetError("not confirmed; nothing was done")


class _Count:
    """How far the work is, and whether the operator wants it to end."""

    def __init__(self, word: str) -> None:
        self.done = 0
        self.is_interrupted = False
        self._word = word

    def watcher(self) -> "Watcher":
        from fleet.ops.letters.acting import Watcher

        return Watcher(progress=self._tell, is_interrupted=lambda: self.is_interrupted)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """End the work after what has begun; the second time at once."""
        del number, frame
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.is_interrupted = True

    def _tell(self, done: int) -> None:
        self.done = done
        if sys.stderr.isatty():
            click.echo(f"\r{done} {self._word} ", nl=False, err=True)


@contextmanager
def _counted(word: str) -> "Iterator[_Count]":
    count = _Count(word)
    before = signal.signal(signal.SIGINT, count.interrupt)
    try:
        yield count
    finally:
        signal.signal(signal.SIGINT, before)
        if count.done and sys.stderr.isatty():
            click.echo(err=True)


def _hindrances(reports: "list[Report]") -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.hindered)
    return counts


def _say_hindrances(reports: "list[Report]") -> None:
    from fleet.letters.replay import MEANINGS, Hindrance

    for name, count in _hindrances(reports).items():
        say(f"{count} stay where they are ({name}): {MEANINGS[Hindrance(name)]}")


def _require_any(wish: "Wish", reports: "list[Report]") -> None:
    """Raise FleetError where no dead letter has the task ids that are named: nothing done is not done."""
    ids = sorted(wish.selection.ids)
    if ids and not any(report.done or report.hindered or report.stopped for report in reports):
        others = f" or the {len(ids) - 1} others" if len(ids) > 1 else ""
        raise FleetError(
            f"no dead letter of task id `{ids[0]}`{others} is meant; nothing was done",
            hint="see `fleet dead-letters list`; what somebody else looks at is not seen meanwhile",
        )


def _raise_unless_all(reports: "list[Report]", done: int, word: str) -> None:
    stopped = next((report.stopped for report in reports if report.stopped), None)
    left = sum(_hindrances(reports).values())
    if not left and stopped is None:
        return
    why = f"stopped: {stopped}" if stopped else f"{left} stay in their dead-letter queue"
    hint = "see `fleet dead-letters list`; running it again is safe"
    if done:
        raise PartlyDone(f"{done} {word}; {why}", hint=hint)
    raise FleetError(f"none {word}; {why}", hint=hint)
