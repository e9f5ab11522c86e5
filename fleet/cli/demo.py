"""`fleet demo`: the whole job, end to end, on private servers."""

import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say

if TYPE_CHECKING:
    from fleet.ops.demo.claims import DemoReport, Place


@click.command(
    epilog="""\b
Examples:
  fleet demo             show everything, stop everything
  fleet demo --keep      leave it running, with the addresses to look at, until Ctrl-C
  fleet demo --json      the evidence as a record
"""
)
@click.option("--keep", is_flag=True, show_envvar=True, help="Leave everything running until Ctrl-C.")
@json_option
@pass_invocation
def demo(invocation: Invocation, *, keep: bool, as_json: bool) -> None:
    """Show the whole job at work: provisioning, workers on three hosts, backups, mail, metrics.

    It runs a RabbitMQ node, an SMTP sink and a Prometheus of its own, on loopback and in a directory of its
    own, and leaves nothing behind. Exit status 1 if any claim failed.
    """
    from fleet.errors import FleetError
    from fleet.ops.demo.story import run_demo

    # Asked to end: the same way out as Ctrl-C, which stops everything.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kept = _Kept(as_json=as_json) if keep else None
    report = run_demo(environ=invocation.environ(), report=say, keep=kept)
    if kept is None:
        _show(report, (), as_json=as_json)
    else:
        # The rest was shown while everything ran.
        say(f"{report.claims[-1].claim}: {report.claims[-1].evidence}")
    if not report.ok:
        failed = sum(not claim.ok for claim in report.claims)
        raise FleetError(f"{failed} of {len(report.claims)} claims failed", hint="run `fleet demo --keep`")
    say(f"all {len(report.claims)} claims hold, shown in {report.seconds:.0f} s")
    if not keep:
        say("to look around: `fleet demo --keep` leaves it running and says where; docs/quickstart.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """Shows what was seen and where to look while everything runs, until Ctrl-C."""

    as_json: bool

    def __call__(self, report: "DemoReport", places: "Sequence[Place]") -> None:
        _show(report, places, as_json=self.as_json)
        say("\neverything runs on; Ctrl-C stops it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("")


def _show(report: "DemoReport", places: "Sequence[Place]", *, as_json: bool) -> None:
    if as_json:
        emit_json({"ok": report.ok, **asdict(report), "places": [asdict(place) for place in places]})
        return
    rows = [("ok" if claim.ok else "FAILED", claim.claim, claim.evidence) for claim in report.claims]
    emit_table(("", "CLAIM", "EVIDENCE"), rows)
    if places:
        click.echo()
        emit_table(("WHERE TO LOOK", ""), [(place.what, place.where) for place in places])
