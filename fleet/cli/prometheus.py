"""``fleet prometheus``: what Prometheus needs to see and judge this fleet."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.metrics.rule import RUNBOOK_URL
from fleet.metrics.scrape import ScrapePlan
from fleet.ops.prometheus import rule_document, scrape_document, target_document, write

if TYPE_CHECKING:
    from fleet.ops.prometheus import Document

output_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    show_envvar=True,
    help="Replace this file in one step instead of printing.",
)


@click.group()
def prometheus() -> None:
    """Write targets, configuration and alert rules for Prometheus."""


@prometheus.command(
    epilog="""\b
Examples:
  fleet prometheus targets
  fleet prometheus targets --output /etc/prometheus/fleet-targets.json
"""
)
@output_option
@pass_invocation
def targets(inv: Invocation, *, output: Path | None) -> None:
    """List every worker of the inventory as Prometheus's file_sd JSON, whether it runs or not."""
    document = target_document(inv.load())
    _deliver(document, output, as_json=False)


@prometheus.command(
    epilog="""\b
Examples:
  fleet prometheus config
  fleet prometheus config --beat alpha:9539 --output /etc/prometheus/prometheus.yml
"""
)
@click.option(
    "--targets-file",
    default="fleet-targets.json",
    show_default=True,
    show_envvar=True,
    help="The file that `fleet prometheus targets` writes, as Prometheus finds it.",
)
@click.option(
    "--rules-file",
    default="fleet-rules.yml",
    show_default=True,
    show_envvar=True,
    help="The file that `fleet prometheus rules` writes, as Prometheus finds it.",
)
@click.option(
    "--beat", "beats", multiple=True, metavar="HOST:PORT", show_envvar=True, help="A beat; may be repeated."
)
@click.option(
    "--broker",
    "brokers",
    multiple=True,
    metavar="HOST:PORT",
    show_envvar=True,
    help="A broker node's own metrics; may be repeated.  [default: port 15692 of each broker node]",
)
@click.option(
    "--interval",
    type=click.IntRange(1, 3600),
    default=15,
    show_default=True,
    show_envvar=True,
    help="Seconds between scrapes, and between evaluations of the rules.",
)
@output_option
@json_option
@pass_invocation
def config(
    inv: Invocation,
    *,
    targets_file: str,
    rules_file: str,
    beats: tuple[str, ...],
    brokers: tuple[str, ...],
    interval: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print a Prometheus configuration that scrapes the fleet and its broker."""
    plan = ScrapePlan(
        targets_file=targets_file,
        rules_file=rules_file,
        beats=beats,
        brokers=brokers,
        interval_seconds=interval,
    )
    fleet = inv.load()
    if fleet.schedule and not beats:
        say("no --beat is given, so Prometheus will not see beat: its runs will count as missed")
    _deliver(scrape_document(fleet, plan), output, as_json=as_json)


@prometheus.command(
    epilog="""\b
Examples:
  fleet prometheus rules --output /etc/prometheus/fleet-rules.yml
  fleet prometheus rules --runbook-url 'https://wiki.example.org/runbooks/{alert}'
"""
)
@click.option(
    "--runbook-url",
    default=RUNBOOK_URL,
    show_default=True,
    show_envvar=True,
    help="Where runbooks are found; {alert} stands for the alert's name.",
)
@output_option
@json_option
def rules(*, runbook_url: str, output: Path | None, as_json: bool) -> None:
    """Print the alert rules; their limits come from metrics, so they serve every fleet."""
    _deliver(rule_document(runbook_url=runbook_url), output, as_json=as_json)


def _deliver(document: "Document", output: Path | None, *, as_json: bool) -> None:
    if output is None:
        emit_json(document.content) if as_json else click.echo(document.text, nl=False)
        return
    written = write(document, output)
    if as_json:
        emit_json(written)
    say(f"wrote {written.path}" if written.changed else f"{written.path} is up to date")
