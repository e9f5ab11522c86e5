"""`fleet remove`: a host leaves the fleet."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.drain import teller_of_rest
from fleet.cli.host_changes import sudo_option, teller
from fleet.cli.hosts import ask_password
from fleet.cli.provision_apply import ask, paint, yes_option
from fleet.cli.sending import DurationParam
from fleet.errors import HostsUnreachable, PartlyDone, ProblemsFound, UsageError
from fleet.hosts.drained import mark
from fleet.hosts.leaving import lines_of
from fleet.hosts.needs import beat_host
from fleet.ops.drain import await_rest, plan_drain
from fleet.ops.hosts import is_unreached
from fleet.ops.provision import open_door
from fleet.ops.provision_hosts import apply_hosts, this_operator
from fleet.ops.remove import cut_host_short, has_workers, plan_removal, take_off
from fleet.ops.revoke import own_users, revoke_host, scheduler_of
from provisioning.hosts import render

if TYPE_CHECKING:
    from fleet.model import Fleet, Host
    from fleet.ops.remove import Removal
    from provisioning.apply import Report
    from provisioning.hosts.many import Done

T = TypeVar("T")


@click.command(
    epilog="""\b
examples:
  fleet remove alpha --check
  fleet remove alpha --wait 2h
  fleet remove alpha --now        what runs there is run again elsewhere
  fleet remove alpha --lost       it is gone for good: take its access away
"""
)
@click.argument("host")
@click.option(
    "--wait",
    type=DurationParam(),
    default="10m",
    show_default=True,
    metavar="TIME",
    show_envvar=True,
    help="How long running tasks may take.",
)
@click.option("--now", is_flag=True, show_envvar=True, help="Stop running tasks; they run again elsewhere.")
@click.option("--lost", is_flag=True, show_envvar=True, help="The host is gone: do not try to reach it.")
@click.option("--check", is_flag=True, show_envvar=True, help="Show what would go, and change nothing.")
@yes_option
@sudo_option
@json_option
@pass_invocation
def remove(
    inv: Invocation,
    *,
    host: str,
    wait: int,
    now: bool,
    lost: bool,
    check: bool,
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Take the fleet off HOST: drain it, remove what fleet put there, and take its broker users away.

    HOST is one host's name. Data stay: the state directory with ledger and outbox, backups, the audit log;
    they are named. With the profile `per-host` the host's own broker users are deleted, and with `--lost` the
    scheduler's, too, if HOST runs beat. The fleet file is not changed: the lines that speak of the host are
    shown. It may be said again, and goes on where it was. Exit code 0: done. 3: half done, or something still
    runs. 4: with --check. 5: the host or broker is away.
    """
    fleet = inv.load()
    chosen = _known_host(fleet, host)
    if lost and now:
        raise UsageError(
            "`--now` stops tasks on a host, and `--lost` says that there is none", hint="say one"
        )
    password = ask_password() if ask_sudo_password and not lost else None
    leaving = _Leaving(inv=inv, fleet=fleet, host=chosen, as_json=as_json, password=password, lost=lost)
    is_there = False if lost else leaving.look()
    leaving.tell_users()
    if check:
        leaving.finish_check()
        return
    if not yes:
        ask(f"take the fleet off {host}?", pending=f"{host} would leave the fleet")
    if is_there:
        leaving.come_to_rest(wait_seconds=wait, now=now)
        leaving.take_off()
    leaving.revoke()
    leaving.finish()


def _known_host(fleet: "Fleet", name: str) -> "Host":
    found = fleet.host(name)
    if found is None:
        known = ", ".join(each.name for each in fleet.hosts[:12])
        raise UsageError(f"{fleet.source} has no host `{name}`", hint=f"known: {known}")
    return found


class _Leaving:
    """One host on its way out, step by step."""

    def __init__(
        self,
        *,
        inv: Invocation,
        fleet: "Fleet",
        host: "Host",
        as_json: bool,
        password: Callable[[], str] | None,
        lost: bool,
    ) -> None:
        self._inv = inv
        self._fleet = fleet
        self._host = host
        self._as_json = as_json
        self._password = password
        self._lost = lost
        self._started = time.monotonic()
        self._by = this_operator(inv.environ(), reason="remove")
        self._removal: Removal | None = None
        self._record: dict[str, object] = {"host": host.name, "kept": [], "revoked": []}

    def look(self) -> bool:
        """Show what goes from the host; return whether anything does."""
        removal = _value(plan_removal(self._fleet, self._host, sudo_password=self._password))
        self._removal = removal
        self._record["kept"] = list(removal.kept)
        if removal.is_empty:
            say(f"{self._host.name}: nothing of the fleet is there")
            return False
        lines = [render.text(removal.plan), *(["  - all releases"] if removal.has_releases else [])]
        click.echo(paint("\n".join(lines), to_stderr=self._as_json), err=self._as_json)
        say(
            "\n".join(
                (f"{self._host.name} keeps, where it is there:", *(f"  {each}" for each in removal.kept))
            )
        )
        return True

    def tell_users(self) -> None:
        """Say which access to the broker goes, and what else goes with the host."""
        if beat_host(self._fleet) == self._host.name:
            say(
                f"{self._host.name} runs beat: the schedule rests until the fleet file is without that host"
                " and `fleet provision` has beat run on another"
            )
        users = own_users(self._fleet, self._host, lost=self._lost)
        if users:
            say(f"broker users that go, where they are there: {', '.join(users)}")
        else:
            say(
                f"{self._host.name} has no broker user of its own: it knows the password of all hosts;"
                " change that if it is in strange hands"
            )
        if users and beat_host(self._fleet) == self._host.name:
            scheduler = scheduler_of(self._fleet, self._host.name)
            name = scheduler.name if scheduler else self._fleet.broker.user
            say(f"{self._host.name} runs beat, so it knows the password of `{name}`, too")
            if scheduler and self._lost:
                say(
                    f"change what `{scheduler.password}` has before `fleet provision broker` makes"
                    f" `{name}` again"
                )

    def finish_check(self) -> None:
        """End a look."""
        self._tell_lines()
        self._answer()
        raise ProblemsFound(
            f"`{self._host.name}` is still in the fleet", hint=f"run `fleet remove {self._host.name}`"
        )

    def come_to_rest(self, *, wait_seconds: int, now: bool) -> None:
        """Drain the host and wait. Raises PartlyDone when something still runs in the end."""
        assert self._removal is not None
        if not has_workers(self._removal.plan):
            return
        name, hosts = self._host.name, (self._host,)
        content = mark(f"{self._by.name}@{self._by.origin}", "remove", now=datetime.now(UTC))
        (planned,) = plan_drain(self._fleet, hosts, content, sudo_password=self._password)
        change = _value(planned)
        reports = apply_hosts(self._fleet, {name: change}, by=self._by, sudo_password=self._password)
        for each in reports:
            _good(each, "it could not be drained")
        if now:
            _begun(cut_host_short(self._fleet, self._host, sudo_password=self._password))
        tell = teller_of_rest()
        (left,) = await_rest(
            self._fleet, hosts, seconds=wait_seconds, sudo_password=self._password, on_look=tell
        )
        if _begun(left):
            raise PartlyDone(
                f"{name} is drained, and something still runs there after {wait_seconds} s",
                hint=f"run `fleet remove {name}` again later, or with `--now`",
            )

    def take_off(self) -> None:
        """Remove what fleet put there."""
        done = take_off(self._fleet, self._host, by=self._by, sudo_password=self._password)
        teller(self._started)(done)
        _begun(done)
        _good(done, "not all of it could be removed")
        self._record["report"] = render.report_record(self._host.name, _value(done))

    def revoke(self) -> None:
        """Take the host's own broker users away."""
        if not own_users(self._fleet, self._host, lost=self._lost):
            return
        _, door = open_door(self._fleet, self._inv.environ())
        gone = revoke_host(self._fleet, self._host, door, lost=self._lost)
        self._record["revoked"] = list(gone)
        say(f"deleted from the broker: {', '.join(gone)}" if gone else "its broker users are gone already")

    def finish(self) -> None:
        """Say what is left for the operator to do."""
        self._tell_lines()
        say(
            f"{self._host.name} has left; take those lines out of the fleet file before the next"
            " `fleet provision broker`, or its users come again"
        )
        self._answer()

    def _tell_lines(self) -> None:
        lines = lines_of(Path(self._fleet.source).read_text(encoding="utf-8"), self._host.name)
        self._record["lines"] = [asdict(each) for each in lines]
        if lines:
            say(f"lines of {self._fleet.source} that speak of {self._host.name} (-: goes, ~: names it):")
        for each in lines:
            say(f"  {'-' if each.goes else '~'} {each.number}: {each.text}")

    def _answer(self) -> None:
        if self._as_json:
            emit_json(self._record)


def _value(done: "Done[T]") -> "T":
    if done.error is not None:
        raise (
            HostsUnreachable(done.error.message, hint=_if_lost(done.name))
            if is_unreached(done.error)
            else done.error
        )
    return cast("T", done.value)


def _begun(done: "Done[T]") -> "T":
    """Return the value of a step on a host that is half out of the fleet already."""
    if is_unreached(done.error):
        assert done.error is not None
        raise PartlyDone(f"half done: {done.error.message}", hint=_again(done.name))
    return _value(done)


def _good(done: "Done[Report]", what: str) -> None:
    report = _value(done)
    if not report.converged:
        why = f": {report.error.message}" if report.error else ""
        raise PartlyDone(f"host `{done.name}`: {what}{why}", hint=_again(done.name))


def _again(host: str) -> str:
    return f"run `fleet remove {host}` again, which goes on from there; {_if_lost(host)}"


def _if_lost(host: str) -> str:
    return f"if it is gone for good: `fleet remove {host} --lost`"
