"""`fleet worker`: run one worker of this host, or all of them."""

import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fleet.cli.context import Invocation, pass_invocation, say
from fleet.errors import UsageError

if TYPE_CHECKING:
    from fleet.model import Fleet
    from fleet.worker.context import WorkerContext


@click.command(
    epilog="""\b
Examples:
  fleet worker shared                     worker `shared` of this host
  fleet worker backup --host alpha        when this machine's name is not in the fleet file
  fleet worker --host alpha               all workers of host `alpha`
  fleet worker backup --instance b        a second one beside it, for a rollout
  fleet worker shared -l debug --trace-tasks
"""
)
@click.argument("name", required=False)
@click.option(
    "--host",
    envvar="FLEET_HOST",
    show_envvar=True,
    help="Which host of the fleet file this is.  [default: this machine's name]",
)
@click.option(
    "--instance",
    type=click.Choice(["a", "b"]),
    default="a",
    show_default=True,
    show_envvar=True,
    help="Which of two instances that may run side by side, each with a name and a port of its own.",
)
@click.option(
    "-l",
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    show_envvar=True,
    help="Least serious lines to write to stderr.",
)
@click.option(
    "--trace-tasks",
    is_flag=True,
    show_envvar=True,
    help="With `-l debug`: log arguments, timing and the locals of a failing frame, secrets masked.",
)
@click.option("--no-metrics", is_flag=True, show_envvar=True, help="Serve no metrics.")
@click.option(
    "--wait-for-broker",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="How long to wait for a broker that does not answer at the start.",
)
@click.option(
    "--watchdog",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    show_envvar=True,
    metavar="SECONDS",
    help="End, to be started again, when nothing gets on for this long though there is work; 0: never.",
)
@click.pass_context
@pass_invocation
def worker(
    invocation: Invocation,
    ctx: click.Context,
    /,
    *,
    name: str | None,
    host: str | None,
    instance: str,
    **how: Any,
) -> None:
    """Run worker NAME of this host in the foreground, or without NAME all workers of this host.

    Without NAME each worker is a process of its own, which is started again when it fails: for development
    and demonstrations. On a real host, systemd runs one unit per worker.

    SIGTERM or Ctrl-C: it takes no new task and waits for those that run, up to the worker's `stop_timeout`.
    Then, or at a second signal, or at SIGQUIT, what runs is stopped and delivered again; one signal more ends
    it at once. A broker that goes away later is waited for without a limit.
    """
    from fleet.worker.garbage import rest

    if name:
        rest()
    load = invocation.load_meanwhile() if name else invocation.load
    from fleet.worker.notify import of_this_process
    from fleet.worker.run import WorkerOptions, run_worker

    notifier, fleet = of_this_process(), load()
    here = host or this_host(tuple(each.name for each in fleet.hosts))
    if name is None:
        ctx.exit(_run_all(fleet, invocation, ctx.params | {"host": here}))
    options = WorkerOptions(
        loglevel=how["loglevel"],
        trace_tasks=how["trace_tasks"],
        metrics=not how["no_metrics"],
        wait_seconds=how["wait_for_broker"],
        watchdog_seconds=how["watchdog"],
        notifier=notifier,
    )
    ctx.exit(run_worker(_context(invocation, fleet, host=here, worker=name, instance=instance), options))


def _context(
    invocation: Invocation, fleet: "Fleet", *, host: str, worker: str, instance: str
) -> "WorkerContext":
    from fleet.worker.context import worker_context

    return worker_context(fleet, host=host, worker=worker, instance=instance, environ=invocation.environ())


def _run_all(fleet: "Fleet", invocation: Invocation, options: Mapping[str, Any]) -> int:
    """Run all workers of the host and return the exit code."""
    from fleet.worker.supervise import MARGIN_SECONDS, Supervisor

    commands = worker_commands(fleet, invocation, options)
    longest = max(each.stop_timeout_seconds for each in fleet.workers_on(options["host"]))
    stop_seconds = longest + MARGIN_SECONDS
    return Supervisor(commands, environ=invocation.environ(), report=say, stop_seconds=stop_seconds).run()


def this_host(declared: tuple[str, ...]) -> str:
    """Return which of the ``declared`` hosts this machine is, by its full or short name.

    Raises UsageError when it is none of them.
    """
    full = socket.gethostname()
    for name in (full, full.partition(".")[0]):
        if name in declared:
            return name
    raise UsageError(
        f"this machine is `{full}`, which is no host of the fleet file",
        hint=f"add `--host NAME`; hosts: {', '.join(declared)}",
    )


def worker_commands(
    fleet: "Fleet", invocation: Invocation, options: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Return, for each worker of the host, the command line that runs it alone with the same options.

    Raises UsageError when the fleet has no such host, or no worker on it.
    """
    host = options["host"]
    if fleet.host(host) is None:
        known = ", ".join(each.name for each in fleet.hosts)
        raise UsageError(f"{fleet.source} has no host `{host}`", hint=f"hosts: {known}")
    workers = fleet.workers_on(host)
    if not workers:
        raise UsageError(f"no worker runs on host `{host}`", hint="see `[workers]` in the fleet file")
    # -P: a file in the working directory must not stand in for a module, as with the console script.
    before = [sys.executable, "-P", "-m", "fleet.cli.main", "--file", invocation.path]
    before += ["--debug"] if invocation.debug else []
    before += ["--insecure-plaintext-secrets"] if invocation.plaintext_secrets else []
    after = ["--host", host, "--instance", options["instance"], "--loglevel", options["loglevel"]]
    after += ["--wait-for-broker", str(options["wait_for_broker"])]
    after += ["--watchdog", str(options["watchdog"])]
    after += ["--trace-tasks"] if options["trace_tasks"] else []
    after += ["--no-metrics"] if options["no_metrics"] else []
    return {each.name: (*before, "worker", *after, "--", each.name) for each in workers}
