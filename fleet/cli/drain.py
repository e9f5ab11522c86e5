"""`fleet drain` and `fleet resume`: the workers of hosts come to rest, and run again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, json_option, pass_invocation, say
from fleet.cli.host_changes import Prepared, Words, apply_all, carry_out, look, sudo_option
from fleet.cli.provision_apply import yes_option
from fleet.cli.sending import DurationParam
from fleet.errors import PartlyDone

if TYPE_CHECKING:
    from fleet.ops.drain import Running
    from provisioning.hosts.many import Done

DRAIN = Words(command="fleet drain", idle="no changes: the hosts are drained", pending="not drained")
RESUME = Words(command="fleet resume", idle="no changes: the hosts work", pending="to be resumed")
wait_option = click.option(
    "--wait",
    type=DurationParam(),
    metavar="TIME",
    show_envvar=True,
    help="Return when all of it has ended, or after this time, such as 30m.",
)
reason_option = click.option("--reason", default="", show_envvar=True, help="Why; kept on the host.")


@click.command(
    epilog="""\b
examples:
  fleet drain alpha --reason "new disk" --wait 30m
  fleet resume alpha
"""
)
@click.argument("host", nargs=-1, required=True)
@reason_option
@wait_option
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@yes_option
@sudo_option
@json_option
@pass_invocation
def drain(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    reason: str,
    wait: int | None,
    check: bool,
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Let the workers of each HOST take nothing new; what runs goes on, for up to their stop_timeout.

    HOST is a name, a glob or a label such as @db. They stay at rest over a reboot, a `fleet provision hosts`
    and a `fleet rollout`, until `fleet resume`. Beat goes on. What still runs is said. Exit code 0: done;
    with --wait, nothing runs any more. 3: some hosts failed, or something still runs after the wait. 4: with
    --check. 5: no host could be reached.
    """
    from fleet.hosts.drained import mark
    from fleet.ops.drain import plan_drain
    from fleet.ops.provision_hosts import this_operator

    by = this_operator(inv.environ())
    content = mark(f"{by.name}@{by.origin}", reason, now=datetime.now(UTC))
    plan = partial(plan_drain, mark=content)
    looked = look(inv.load, host, plan, DRAIN, ask_sudo_password=ask_sudo_password, as_json=as_json)
    if check:
        looked.finish()
        return
    if looked.changes:
        looked.confirm(yes=yes)
    reports = apply_all(looked, inv.environ(), reason=f"drain: {reason}" if reason else "drain")
    left = _await(looked, wait)
    looked.finish(reports, besides={each.name: {"running": _records(each)} for each in left})
    if wait is not None and any(each.value for each in left):
        raise PartlyDone(f"something still runs after {wait} s", hint="wait again: `fleet drain`")


@click.command(
    epilog="""\b
examples:
  fleet resume alpha
  fleet resume @db --yes
"""
)
@click.argument("host", nargs=-1, required=True)
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would change, and change nothing.")
@yes_option
@sudo_option
@json_option
@pass_invocation
def resume(
    inv: Invocation,
    *,
    host: tuple[str, ...],
    check: bool,
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Let the workers of each drained HOST run again, with the release and configuration that are there.

    HOST is a name, a glob or a label such as @db. A worker that does not get ready leaves the host drained.
    Exit code 0: they run. 4: with --check. 3: some hosts failed. 5: none could be reached.
    """
    from fleet.ops.restart import plan_resume

    looked = look(inv.load, host, plan_resume, RESUME, ask_sudo_password=ask_sudo_password, as_json=as_json)
    carry_out(looked, inv.environ(), reason="resume", check=check, yes=yes)


def _await(looked: Prepared, wait: int | None) -> "Sequence[Done[tuple[Running, ...]]]":
    from fleet.ops.drain import await_rest

    hosts = [host for host in looked.fleet.hosts if any(host.name == each.name for each in looked.planned)]
    return await_rest(
        looked.fleet, hosts, seconds=wait or 0, sudo_password=looked.sudo_password, on_look=teller_of_rest()
    )


def teller_of_rest() -> "Callable[[Mapping[str, tuple[Running, ...]]], None]":
    """Return what tells an operator what still runs, whenever that has changed."""
    told: dict[str, list[str]] = {}

    def tell(left: "Mapping[str, tuple[Running, ...]]") -> None:
        for host, running in left.items():
            lines = [f"{each.unit}: {each.status or 'says nothing'}" for each in running]
            if told.get(host) != lines:
                say("\n".join(f"{host}: {line}" for line in lines))
                told[host] = lines

    return tell


def _records(done: "Done[tuple[Running, ...]]") -> list[dict[str, str]] | None:
    return None if done.value is None else [asdict(each) for each in done.value]
