"""``fleet backup restore``: bring a file or a tree back, on this machine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.backup.restore import Restored
    from fleet.backup.rsync import Progress
    from fleet.model import Fleet
    from fleet.ops.restores import Located


@click.command(
    epilog="""\b
Examples:
  fleet backup restore etc /etc/hosts --to /root/found
  fleet backup restore etc /etc --at 2026-11-20T18:00 --to /root/yesterday
  fleet backup restore etc /etc/hosts --in-place
  fleet backup restore etc /etc/hosts --in-place --yes --json"""
)
@click.argument("name")
@click.argument("path")
@click.option("--host", show_envvar=True, help="Whose copy, where this machine has copies of several hosts.")
@click.option("--snapshot", show_envvar=True, help="Name of a snapshot.  [default: the newest good one]")
@click.option(
    "--at", metavar="TIME", show_envvar=True, help="The newest good snapshot of this time, or before."
)
@click.option(
    "--to",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    show_envvar=True,
    help="Restore below this directory, empty or new.  [default: one below the backup's restore_dir]",
)
@click.option("--in-place", is_flag=True, show_envvar=True, help="Restore to where the files came from.")
@click.option("--yes", is_flag=True, show_envvar=True, help="Do not ask before a restore in place.")
@click.option(
    "--force",
    is_flag=True,
    show_envvar=True,
    help="In place: overwrite files that changed after the snapshot, too.",
)
@json_option
@pass_invocation
def restore(
    invocation: Invocation,
    *,
    name: str,
    path: str,
    host: str | None,
    snapshot: str | None,
    at: str | None,
    directory: Path | None,
    in_place: bool,
    yes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Bring PATH back from backup NAME, and compare every file with the snapshot.

    PATH is what it was on the host, such as /etc/hosts; / means everything. A restore in place keeps
    what it overwrites. Nothing passes through the broker: run it on the machine that has the copies.
    """
    from fleet.ops.restores import locate, parse_moment

    if (snapshot and at) or (directory and in_place):
        pair = "`--snapshot` and `--at`" if snapshot and at else "`--to` and `--in-place`"
        raise UsageError(f"{pair} exclude each other", hint="give one of them")
    fleet = invocation.load()
    moment = parse_moment(at, timezone=fleet.timezone) if at else None
    located = locate(fleet, name=name, path=path, host=host, snapshot=snapshot or "latest", at=moment)
    if in_place:
        restored = _put_back(fleet, located, yes=yes, force=force)
    else:
        restored = _bring_back(fleet, located, directory)
    _report(restored, as_json=as_json)


def _bring_back(fleet: "Fleet", located: "Located", directory: Path | None) -> "Restored":
    from fleet.ops.restores import bring_back

    with _progress() as on_progress:
        return bring_back(
            fleet, located, directory=directory, task_id=_new_id(), clock=_now, on_progress=on_progress
        )


def _put_back(fleet: "Fleet", located: "Located", *, yes: bool, force: bool) -> "Restored":
    from fleet.ops.restores import preview, put_back

    found = preview(located, overwrite_newer=force)
    part = located.part
    say(
        f"`{part.path}` of `{part.manifest.host}` from snapshot {part.manifest.snapshot}: "
        f"{found.created} files come back, {found.replaced} are overwritten "
        f"({found.newer} of them changed since), {found.unchanged} look unchanged"
    )
    if not yes:
        _ask()
    with _progress() as on_progress:
        return put_back(
            fleet,
            located,
            overwrite_newer=force,
            task_id=_new_id(),
            clock=_now,
            on_progress=on_progress,
        )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("a restore in place asks first, and nobody can answer", hint="add `--yes`")
    click.confirm("restore in place?", abort=True, err=True)


def _report(restored: "Restored", *, as_json: bool) -> None:
    if as_json:
        emit_json(restored)
        return
    click.echo(restored.target)
    say(
        f"restored {restored.files} files ({restored.bytes} bytes) and compared them with snapshot "
        f"{restored.snapshot}"
    )
    if restored.kept_in:
        say(f"what was overwritten is in {restored.kept_in}")


@contextmanager
def _progress() -> "Iterator[Callable[[Progress], None] | None]":
    """Show a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("restoring", total=100)

        def show(progress: "Progress") -> None:
            if progress.percent is not None:
                bars.update(task, completed=progress.percent)

        yield show


def _new_id() -> str:
    from uuid import uuid4

    return str(uuid4())


def _now() -> datetime:
    return datetime.now(UTC)
