"""How are hosts looked at before they are provisioned or rolled out? With what must be built, and at once."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleet.cli.context import Invocation, say
from fleet.cli.host_changes import PROVISION, Prepared, Words, look
from provisioning.collection import collector_resting

if TYPE_CHECKING:
    from fleet.model import Fleet, Host
    from fleet.ops.host_change import HostChange
    from fleet.ops.hosts import SudoPassword
    from provisioning.hosts.many import Done

wheel_option = click.option(
    "--wheel",
    "wheels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_envvar=True,
    help="A wheel to install with the release; may be given several times.",
)


def prepare(
    inv: Invocation,
    hosts: Sequence[str],
    *,
    wheels: tuple[Path, ...],
    diff: bool,
    ask_sudo_password: bool,
    as_json: bool,
    words: Words = PROVISION,
) -> Prepared:
    """Look at hosts, build their releases, and show what must change."""
    with collector_resting():
        # It would look through all that is imported, again and again, here and where the file is read.
        load = inv.load_meanwhile()
        from fleet.ops.hosts import load_ssh
        from fleet.ops.provision_hosts import Releases, plan_hosts, release_cache

        load_ssh()
    gc.freeze()
    environ = inv.environ()

    def plan(
        fleet: "Fleet", chosen: "Sequence[Host]", *, sudo_password: "SudoPassword | None"
    ) -> "Sequence[Done[HostChange]]":
        releases = Releases(fleet=fleet, cache=release_cache(environ), wheels=wheels, report=say)
        return plan_hosts(
            fleet, chosen, environ, releases=releases, contents=diff, sudo_password=sudo_password
        )

    return look(load, hosts, plan, words, diff=diff, ask_sudo_password=ask_sudo_password, as_json=as_json)
