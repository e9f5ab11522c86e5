"""What has a host kept of the releases that ran there?"""

from fleet.config.parse import parse
from fleet.errors import ConfigError, FleetError
from fleet.hosts.history import History, history
from fleet.hosts.install import list_argv, releases_of
from fleet.hosts.kept import Kept, load
from fleet.hosts.paths import FLEET_FILE, RELEASES, kept_file
from fleet.hosts.performing import QUICK_SECONDS
from fleet.model import Fleet
from fleet.ops.host_plans import look
from fleet.ops.host_sources import FromHost, Known
from provisioning.errors import HostUnfit
from provisioning.hosts.door import HostDoor
from provisioning.hosts.runner import Runner


def see_history(runner: Runner) -> History:
    """Return which releases a host has and had. Raises what ``runner`` raises."""
    return _history(runner, look(HostDoor(runner)))


def from_host(
    fleet: Fleet, host: str, runner: Runner, *, release: str | None = None, stands: bool = False
) -> FromHost:
    """Return what ``release`` (the current one when left out) ran with on ``host``.

    Raises HostUnfit where that was not kept, and what ``runner`` raises.
    """
    known = look(HostDoor(runner))
    name = release or history(known, ()).current
    if name is None:
        raise HostUnfit(
            f"host `{host}`: nothing of the fleet is there", hint="`fleet provision hosts` brings it"
        )
    kept = _read(host, runner, name)
    return FromHost(fleet=_fleet_of(kept, fleet), host=host, known=known, kept=kept, stands=stands)


def _history(runner: Runner, known: Known) -> History:
    listed = runner.run(list_argv(), as_root=True, timeout_seconds=QUICK_SECONDS)
    return history(known, releases_of(listed.stdout.decode(errors="replace")))


def _read(host: str, runner: Runner, release: str) -> Kept:
    path = kept_file(release)
    ran = runner.run(("cat", "--", path), as_root=True, timeout_seconds=QUICK_SECONDS)
    if ran.exit_code:
        why = ran.stderr.decode(errors="replace").strip()
        raise HostUnfit(
            f"host `{host}`: with what {release} ran is not known: {why}",
            hint="`fleet provision hosts` brings release and configuration of the fleet file",
        )
    try:
        return load(ran.stdout)
    except FleetError as error:
        raise HostUnfit(f"host `{host}`: `{path}`: {error.message}", hint="roll out a release") from error


def _fleet_of(kept: Kept, fleet: Fleet) -> Fleet:
    """Return the fleet as it was when ``kept`` ran, as far as it can be read today."""
    text = next((each.content for each in kept.files if each.path == FLEET_FILE), None)
    if text is None:
        return fleet
    try:
        return parse(text, source=f"{RELEASES}/{kept.release}")
    except ConfigError:
        return fleet
