"""``fleet hosts``: which machines are there, whom do we trust, what are they like, are they fit?"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, emit_table, json_option, pass_invocation, say
from fleet.cli.hosts_relay import relay
from fleet.cli.hosts_revoke import revoke
from fleet.cli.hosts_trust import trust
from fleet.errors import FleetError, HostsUnreachable, PartlyDone, ProblemsFound, UsageError

if TYPE_CHECKING:
    from fleet.hosts.drained import Drained
    from fleet.ops.host_checks import Checked
    from fleet.ops.hosts import Listed
    from provisioning.hosts.facts import Facts
    from provisioning.hosts.many import Done

GIB = 1024**3


@click.group(
    epilog="Start with `fleet hosts trust`, then `fleet hosts check`. More: docs/how-to/prepare-a-host.md."
)
def hosts() -> None:
    """Reach the hosts over SSH: whom to trust, what they are like, whether they are fit."""


hosts.add_command(trust)
hosts.add_command(revoke)
hosts.add_command(relay)


@hosts.command("list")
@click.option("--state", is_flag=True, show_envvar=True, help="Ask each host whether it is drained.")
@json_option
@pass_invocation
def list_(inv: Invocation, *, state: bool, as_json: bool) -> None:
    """List the hosts of the fleet file, how they are reached and by which key.

    None of them is asked, but with --state. Exit code 0, whatever they say.
    """
    from fleet.ops.hosts import list_hosts, see_drained

    fleet = inv.load()
    listed = list_hosts(fleet)
    states = {each.name: _state(each) for each in see_drained(fleet, fleet.hosts)} if state else {}
    if as_json:
        emit_json([{**_listed_record(each), **states.get(each.host.name, {})} for each in listed])
        return
    columns = (
        "HOST",
        "REACHED AS",
        "THROUGH",
        "KNOWN BY",
        "LABELS",
        "WORKERS",
        *(("STATE",) if state else ()),
    )
    told = {name: (each["drained"] or each["state_error"] or "works",) for name, each in states.items()}
    emit_table(columns, ((*_listed_row(each), *told.get(each.host.name, ())) for each in listed))


@hosts.command(
    epilog="""\b
examples:
  fleet hosts facts
  fleet hosts facts alpha --json | jq '.[].facts.python'"""
)
@click.argument("host", nargs=-1)
@json_option
@pass_invocation
def facts(inv: Invocation, *, host: tuple[str, ...], as_json: bool) -> None:
    """Show what each HOST is like: system, Python, systemd, space, clock, whether root can be had.

    HOST is a name, a glob or a label such as @db; all hosts by default. Each is asked once, and changed in
    nothing. Exit code 3: some hosts told nothing. 5: none could be reached.
    """
    from fleet.ops.hosts import choose, gather_facts, is_unreached

    fleet = inv.load()
    done = gather_facts(fleet, choose(fleet, host))
    if as_json:
        emit_json([_facts_record(each) for each in done])
    else:
        columns = ("HOST", "SYSTEM", "PYTHON", "SYSTEMD", "ROOT", "DISK FREE", "MEMORY FREE", "CLOCK", "HAS")
        emit_table(columns, (_facts_row(each.name, each.value) for each in done if each.value))
    for each in done:
        if each.error:
            say(
                f"{each.name}: {each.error.message}" + (f"\n    {each.error.hint}" if each.error.hint else "")
            )
    end_with([each.error is not None for each in done], [is_unreached(each.error) for each in done])


@hosts.command(
    epilog="""\b
examples:
  fleet hosts check
  fleet hosts check @db --ask-sudo-password
  fleet hosts check --json | jq '.[] | select(.level != "ok")'"""
)
@click.argument("host", nargs=-1)
@click.option(
    "--ask-sudo-password",
    is_flag=True,
    show_envvar=True,
    help="Ask once for the password that sudo wants on the hosts.",
)
@json_option
@pass_invocation
def check(inv: Invocation, *, host: tuple[str, ...], ask_sudo_password: bool, as_json: bool) -> None:
    """Check whether each HOST is fit for what the fleet has it do.

    HOST is a name, a glob or a label such as @db; all hosts by default. Nothing is changed there. Exit code
    0: nothing failed (warnings alone are no failure). 4: a check failed. 3: some hosts could not be reached.
    5: none could.
    """
    from fleet.doctor.finding import Level
    from fleet.doctor.render import summary
    from fleet.ops.host_checks import check_hosts
    from fleet.ops.hosts import choose

    fleet = inv.load()
    chosen = choose(fleet, host)
    password = ask_password() if ask_sudo_password else None
    checked = check_hosts(fleet, chosen, sudo_password=password)
    if as_json:
        emit_json([_checked_record(each) for each in checked])
    else:
        click.echo("\n".join(_checked_text(each) for each in checked))
    say(summary([finding for each in checked for finding in each.findings]))
    end_with([False for _ in checked], [not each.is_reached for each in checked])
    if any(each.level is Level.FAIL for each in checked):
        raise ProblemsFound("not every host is fit; see the lines marked `fail`")


def ask_password() -> Callable[[], str]:
    """Ask for sudo's password, now and once, and return what gives it to whoever needs it."""
    if not sys.stdin.isatty():
        raise UsageError(
            "stdin is no terminal to ask for sudo's password on",
            hint="a script needs a sudo rule without a password: see docs/how-to/prepare-a-host.md",
        )
    password: str = click.prompt("password for sudo on the hosts", hide_input=True, err=True)
    return lambda: password


def end_with(failed: Sequence[bool], unreached: Sequence[bool]) -> None:
    """Raise what the command ends with, where not every host answered."""
    if unreached and all(unreached):
        raise HostsUnreachable("no host could be reached", hint="try `ssh HOST` from here")
    if any(unreached):
        raise PartlyDone(f"{sum(unreached)} of {len(unreached)} hosts could not be reached")
    if failed and all(failed):
        raise FleetError("no host told anything; see the reasons above")
    if any(failed):
        raise PartlyDone(f"{sum(failed)} of {len(failed)} hosts told nothing; see the reasons above")


def _listed_row(listed: "Listed") -> tuple[str, ...]:
    port = "" if listed.port == 22 else f":{listed.port}"
    return (
        listed.host.name,
        f"{listed.user}@{listed.address}{port}",
        ", ".join(listed.through) or "-",
        f"{listed.key.type} {listed.key.fingerprint}" if listed.key else "no key: `fleet hosts trust`",
        ", ".join(listed.host.labels) or "-",
        ", ".join(listed.workers) or "-",
    )


def _state(done: "Done[Drained | None]") -> dict[str, str | None]:
    error = done.error.message if done.error else None
    return {"drained": done.value.told if done.value else None, "state_error": error}


def _listed_record(listed: "Listed") -> dict[str, object]:
    key = {"type": listed.key.type, "fingerprint": listed.key.fingerprint} if listed.key else None
    ssh = {
        "address": listed.host.address,
        "key_file": listed.key_file,
        "known_hosts": listed.known_hosts,
        "jump": None if listed.jump is None else list(listed.jump),
    }
    return {
        "host": listed.host.name,
        "address": listed.address,
        "port": listed.port,
        "user": listed.user,
        "through": list(listed.through),
        "labels": list(listed.host.labels),
        "workers": list(listed.workers),
        "key": key,
        "ssh": ssh,
    }


def _facts_row(name: str, facts: "Facts") -> tuple[str, ...]:
    memory = facts.memory_available_bytes
    return (
        name,
        f"{facts.os_name or '?'}, {facts.architecture}",
        facts.python,
        str(facts.systemd or "-"),
        str(facts.root),
        f"{facts.disk_free_bytes / GIB:.1f} GiB",
        "?" if memory is None else f"{memory / GIB:.1f} GiB",
        f"{facts.clock_offset_seconds:+.1f} ± {facts.clock_uncertainty_seconds:.1f} s",
        ", ".join(program for program, place in facts.programs.items() if place) or "-",
    )


def _facts_record(done: "Done[Facts]") -> dict[str, object]:
    return {
        "host": done.name,
        "facts": asdict(done.value) if done.value else None,
        "error": done.error.message if done.error else None,
        "seconds": round(done.seconds, 3),
    }


def _checked_text(checked: "Checked") -> str:
    from fleet.doctor.render import text

    lines = text(checked.findings).splitlines()
    return "\n".join((checked.name, *(f"  {line}" for line in lines)))


def _checked_record(checked: "Checked") -> dict[str, object]:
    return {
        "host": checked.name,
        "level": checked.level,
        "reached": checked.is_reached,
        "findings": [asdict(finding) for finding in checked.findings],
    }
