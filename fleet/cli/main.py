"""What does the operator type, and how does every command end?

``COMMANDS`` is the whole command tree's first level. Each command lives in a module of its own that is
imported only when it runs, so that ``fleet --help`` stays fast.
"""

import errno
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import NoReturn

import click

from fleet import __version__

#: command name → (module, short help); the module has a click command of the command's name (`_` for `-`)
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "init": ("fleet.cli.init", "Write a commented fleet file to start from"),
        "config": ("fleet.cli.config", "Check and show the fleet file"),
        "provision": ("fleet.cli.provision", "Make the broker and the hosts match the fleet file"),
        "hosts": ("fleet.cli.hosts", "Reach the hosts: trust, list, facts, check"),
        "rollout": ("fleet.cli.rollout", "Change hosts batch by batch, a canary first"),
        "rotate": ("fleet.cli.rotate", "Change passwords while everybody goes on logging in"),
        "rollback": ("fleet.cli.rollback", "Bring hosts back to the release that ran before"),
        "drain": ("fleet.cli.drain", "Let the workers of hosts come to rest, and stay so"),
        "resume": ("fleet.cli.drain", "Let the workers of drained hosts run again"),
        "restart": ("fleet.cli.restart", "Start every worker anew, batch by batch"),
        "remove": ("fleet.cli.remove", "Take the fleet off a host that is to leave"),
        "audit": ("fleet.cli.audit", "Show who changed what on the hosts"),
        "permissions": ("fleet.cli.permissions", "Say what a broker user may do"),
        "doctor": ("fleet.cli.doctor", "Look for what is wrong, without changing anything"),
        "worker": ("fleet.cli.worker", "Run a worker of this host"),
        "beat": ("fleet.cli.beat", "Run the scheduler"),
        "schedule": ("fleet.cli.schedule", "Show the next runs of the schedule"),
        "backup": ("fleet.cli.backup", "Run, list and restore backups"),
        "mail": ("fleet.cli.mail", "Send and preview mail"),
        "task": ("fleet.cli.task", "Send any task of the fleet"),
        "outbox": ("fleet.cli.outbox", "See and forward what this machine keeps while no broker answers"),
        "dead-letters": ("fleet.cli.dead_letters", "Look at, replay and discard what was given up"),
        "prometheus": ("fleet.cli.prometheus", "Write targets, configuration and alert rules for Prometheus"),
        "broker": ("fleet.cli.broker", "Run a private RabbitMQ node"),
        "demo": ("fleet.cli.demo", "Run the whole job end to end on private servers"),
    }
)

INTERRUPTED = 130
#: a full disk, and a user's full share of it: no fault of ours
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which an operator meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None when there is none of that name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` begin with, or fail with the closest name there is."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "FLEET",
        "max_content_width": 100,
    },
    epilog="Start with `fleet init`, or see everything at work with `fleet demo`.",
)
@click.version_option(__version__, prog_name="fleet")
@click.option(
    "-f",
    "--file",
    "path",
    envvar="FLEET_FILE",
    default="fleet.toml",
    show_default=True,
    show_envvar=True,
    help="The fleet file.",
)
@click.option("--debug", is_flag=True, show_envvar=True, help="Show tracebacks.")
@click.option(
    "--insecure-plaintext-secrets",
    "plaintext",
    is_flag=True,
    show_envvar=True,
    help="Accept secrets that stand in the fleet file in the clear.",
)
@click.pass_context
def fleet(ctx: click.Context, *, path: str, debug: bool, plaintext: bool) -> None:
    """Run a RabbitMQ-backed fleet of Celery workers on several hosts from one file."""
    from fleet.cli.context import Invocation

    ctx.obj = Invocation(path=path, debug=debug, plaintext_secrets=plaintext)


def main() -> NoReturn:
    """Run the command line and exit; the one place where an error becomes text and an exit code."""
    debug = "--debug" in sys.argv or bool(os.environ.get("FLEET_DEBUG"))
    try:
        code = fleet.main(prog_name="fleet", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone.
        _drop_output()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the one handler: every error becomes one message
        sys.exit(_report(error, debug=debug))
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """Keep Python from complaining at its end that it cannot write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception, *, debug: bool) -> int:
    """Print ``error`` for an operator and return its exit code."""
    from fleet.cli.context import say

    if debug:
        import traceback

        traceback.print_exception(error)
    known = hasattr(type(error), "exit_code")
    if isinstance(error, OSError) and error.errno in _NO_SPACE and not known:
        place = f" for {error.filename}" if error.filename else " where the output goes"
        say(f"error: no space is left{place}")
        if not error.filename:
            _drop_output()
        return 1
    message = str(error) or type(error).__name__
    say(f"error: {message}" if known else f"error: {type(error).__name__}: {message}")
    hint = getattr(error, "hint", None)
    if known and hint:
        say(f"\nhint: {hint}")
    if not known:
        click.echo("\nhint: this is a fault in fleet; run again with `--debug` for the traceback", err=True)
    return int(getattr(type(error), "exit_code", 1))


if __name__ == "__main__":
    main()
