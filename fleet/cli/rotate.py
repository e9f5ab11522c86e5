"""`fleet rotate`: change passwords while everybody goes on logging in."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, emit_json, json_option, pass_invocation, say
from fleet.cli.host_changes import sudo_option, teller
from fleet.cli.host_preparing import wheel_option
from fleet.cli.hosts import ask_password
from fleet.cli.provision_apply import ask, yes_option
from fleet.cli.sending import DurationParam
from fleet.errors import PartlyDone, ProblemsFound, UsageError

if TYPE_CHECKING:
    from fleet.model import Fleet
    from fleet.ops.rotate.run import Rotated, Still
    from fleet.ops.rotate.site import FleetSite, HostsWay


@click.group(
    epilog="Start with `fleet rotate password --all --check`. More: docs/how-to/rotate-credentials.md."
)
def rotate() -> None:
    """Change passwords while everybody goes on logging in."""


@rotate.command(
    epilog="""\b
examples:
  fleet rotate password --all --check        is a rotation under way, and who holds it up?
  fleet rotate password --user celery
  fleet rotate password --user shop --keep   make the new login of an application; delete the old one later
"""
)
@click.option(
    "--user", "users", multiple=True, show_envvar=True, help="A broker user; may be given several times."
)
@click.option("--all", "everybody", is_flag=True, show_envvar=True, help="All users of the fleet file.")
@click.option("--check", is_flag=True, show_envvar=True, help="Show how far it has come, and change nothing.")
@click.option(
    "--wait",
    type=DurationParam(),
    default="10m",
    show_default=True,
    show_envvar=True,
    help="How long to wait until nobody is connected as a user that is to be deleted.",
)
@click.option("--keep", is_flag=True, show_envvar=True, help="Do not delete the users that were replaced.")
@click.option(
    "--without-hosts",
    is_flag=True,
    show_envvar=True,
    help="Leave it to another tool to give the hosts their passwords.",
)
@click.option(
    "--unproved",
    is_flag=True,
    show_envvar=True,
    help="Do not log in at each node of the broker first; where this machine does not reach them.",
)
@wheel_option
@yes_option
@sudo_option
@json_option
@pass_invocation
def password(
    inv: Invocation,
    *,
    users: tuple[str, ...],
    everybody: bool,
    check: bool,
    wait: int,
    keep: bool,
    without_hosts: bool,
    unproved: bool,
    wheels: tuple[Path, ...],
    yes: bool,
    ask_sudo_password: bool,
    as_json: bool,
) -> None:
    """Give users of the broker new passwords, and nobody is refused meanwhile.

    A second user with the same rights is made. When every node of the broker lets it in, its password takes
    the place of the present one where the fleet file says that it is kept, hosts get it as in a rollout, and
    when nobody is connected as the first user any more, that one is deleted. Run it again when it was
    interrupted, or when somebody was still connected: it goes on from where it stands. Exit code 0: done. 3:
    not yet over, run it again. 4: a rotation is under way (--check). 5: the broker is away.
    """
    from fleet.ops.rotate.run import Patience, rotate

    if bool(users) == everybody:
        raise UsageError("say whose passwords: either `--user NAME` or `--all`")
    started, site = time.monotonic(), _site(inv.load(), inv.environ(), users, proves=not unproved)
    if check:
        _finish_check(site, as_json=as_json)
        return
    if not without_hosts:
        way = _hosts_way(site, started, wheels=wheels, ask_sudo_password=ask_sudo_password)
        site = replace(site, hosts=way)
    say("\n".join(_told(site)))
    if not yes:
        ask("go on?", pending="passwords would be changed")
    patience = Patience(wait_seconds=wait, clock=time.monotonic, pause=time.sleep, tell=_tell_left)
    rotated = rotate(site, patience=patience, keep=keep)
    _end(rotated, seconds=time.monotonic() - started, as_json=as_json)


def _site(fleet: "Fleet", environ: Mapping[str, str], users: tuple[str, ...], *, proves: bool) -> "FleetSite":
    from fleet.ops.provision import open_door
    from fleet.ops.rotate.passwords import choose_passwords
    from fleet.ops.rotate.site import FleetSite

    chosen, (_, door) = choose_passwords(fleet, users), open_door(fleet, environ)
    return FleetSite(
        fleet=fleet, environ=environ, door=door, passwords=chosen, hosts=None, proves=proves, tell=say
    )


def _hosts_way(
    site: "FleetSite", started: float, *, wheels: tuple[Path, ...], ask_sudo_password: bool
) -> "HostsWay":
    from fleet.ops.provision_hosts import Releases, release_cache, this_operator
    from fleet.ops.rotate.site import HostsWay
    from fleet.ops.witness import witness

    fleet, environ = site.fleet, site.environ
    return HostsWay(
        releases=Releases(fleet=fleet, cache=release_cache(environ), wheels=wheels, report=say),
        by=this_operator(environ, reason="rotate password"),
        sudo_password=ask_password() if ask_sudo_password else None,
        witness=witness(fleet, environ),
        on_batch=lambda names: say(f"now {', '.join(names)}"),
        on_done=teller(started),
    )


def _told(site: "FleetSite") -> list[str]:
    """Return what is going to happen, a line for each password."""
    from fleet.rotation import under_way

    going_on = under_way(site.look())
    lines = []
    for each in site.passwords:
        hosts = f", on host {', '.join(each.hosts)}" if each.hosts and site.hosts else ""
        if each.name in going_on:
            lines.append(f"{each.name}: the rotation that is under way goes on{hosts}")
        elif going_on:
            lines.append(f"{each.name}: not begun, because another one is under way")
        else:
            lines.append(
                f"{each.name}: a new password in `{each.place}`{hosts}; the user of the old one goes"
            )
    return lines


def _finish_check(site: "FleetSite", *, as_json: bool) -> None:
    from fleet.rotation import Step, step_of, under_way

    standings = site.look()
    going_on = under_way(standings)
    steps = {name: step_of(each, begin=False) for name, each in standings.items()}
    # Until the new password has taken its place, the others are not those who are to go.
    finishing = [name for name, step in steps.items() if step is Step.FINISH]
    left = site.connected(finishing)
    if as_json:
        emit_json({"under_way": {name: steps[name] for name in going_on}, "left": [asdict(e) for e in left]})
    for name, step in steps.items():
        say(f"{name}: " + ("no rotation is under way" if step is Step.REST else f"next step: {step}"))
    _tell_left(left)
    if going_on:
        raise ProblemsFound(
            f"a rotation is under way: {', '.join(going_on)}", hint="run it again without `--check`"
        )


def _tell_left(left: "Sequence[Still]") -> None:
    for each in left:
        if each.user:
            say(f"  still connected as {each.user}: {each.who} from {each.where}")
        else:
            say(f"  {each.who}: {each.where}")


def _end(rotated: "Rotated", *, seconds: float, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(rotated))
    if rotated.not_begun:
        say(f"a rotation was under way, so none was begun for {', '.join(rotated.not_begun)}: run it again")
    if rotated.left or rotated.kept:
        _tell_left(rotated.left)
        raise PartlyDone(
            "the users that were replaced are still there"
            + ("" if rotated.kept else ", because not everybody has moved over"),
            hint="nobody is refused meanwhile; run it again when those have the new password",
        )
    say(f"rotated: {', '.join(rotated.done)} in {seconds:.1f} s" if rotated.done else "nothing to do")
