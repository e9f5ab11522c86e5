"""``fleet beat``: send the schedule's tasks on time."""

import logging

import click

from fleet.cli.context import Invocation, pass_invocation

#: 9539: beside the workers' ports, which begin at 9540
METRICS_PORT = 9539


@click.command(
    epilog="""\b
Examples:
  fleet beat
  fleet beat --metrics-port 0 --loglevel warning"""
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=METRICS_PORT,
    show_default=True,
    show_envvar=True,
    help="Serve /metrics, /healthz and /readyz on this port; 0 serves none.",
)
@click.option(
    "--metrics-address",
    default="0.0.0.0",  # noqa: S104 - Prometheus scrapes from another host
    show_default=True,
    show_envvar=True,
    help="Listen on this address.",
)
@click.option(
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    show_envvar=True,
    help="Log this and what is graver, on stderr.",
)
@pass_invocation
def beat(invocation: Invocation, *, metrics_port: int, metrics_address: str, loglevel: str) -> None:
    """Send the tasks of `[schedule]` on time, until Ctrl-C or SIGTERM.

    Run one per fleet. It remembers what it sent in `state_dir`, so a restart neither repeats nor forgets a
    run: what became due meanwhile is sent once if it is late by no more than the entry's `grace`.
    """
    from fleet.beat.run import BeatOptions, run_beat
    from fleet.worker.notify import of_this_process

    _log_to_stderr(loglevel)
    options = BeatOptions(
        metrics_port=metrics_port, metrics_address=metrics_address, notifier=of_this_process()
    )
    run_beat(invocation.load(), options, environ=invocation.environ())


def _log_to_stderr(level: str) -> None:
    # Here, so that `fleet beat --help` does not wait for Celery.
    from fleet.worker.logs import stderr_handler

    logging.basicConfig(level=level.upper(), handlers=[stderr_handler()])
