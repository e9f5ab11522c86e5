"""The password of a whole fleet is rotated under load: nobody is refused, and no task is lost."""

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from fleet.daemons.files import write_private
from tests.hosts.fixtures import WORKERS, Clusters
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.system import await_that
from tests.hosts.site import Site, await_rest, make_site, read_until, show

#: logs in with what the host has at the time, every 100 ms, and writes a line for each attempt
ATTEMPTS = """\
import sys, time
from fleet import fleetfile
from fleet.connection import Target, connect
from fleet.login import host_login

fleet, host = fleetfile.read("/etc/fleet/fleet.toml"), sys.argv[1]
environ = {"CREDENTIALS_DIRECTORY": "/etc/fleet/credentials"}
while True:
    began = time.monotonic()
    try:
        login = host_login(fleet, host, environ=environ)
        connect(Target(broker=fleet.broker, login=login, name="attempt")).close()
        print("as", login.user, flush=True)
    except Exception as error:
        print("refused:", error, flush=True)
    time.sleep(max(0, 0.1 - (time.monotonic() - began)))
"""
UNIT, LOG = "attempts.service", "/run/attempts.log"


@pytest.fixture(scope="module")
def site(lab: Lab, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three hosts that share a user and run what is sent."""
    hosts = tuple(lab[name] for name in WORKERS)
    for host in hosts:
        if not host.is_fresh:
            host.reset()
    lab.boot(*WORKERS)
    made = make_site(tmp_path_factory.mktemp("control"), clusters.single("3.10"), *hosts, one_user=True)
    made.provision("--yes")
    yield made
    for host in hosts:
        host.power_off()


def users(site: Site) -> set[str]:
    """Return which of the two users of the workers there are."""
    rows = site.cluster.nodes[0].api("users") or []
    return {row["name"] for row in rows} & {site.user, f"{site.user}+b"}


def attempts(host: Host) -> list[str]:
    return host.console("cat", LOG).splitlines()


@dataclass
class Load:
    """An application that sends tasks without a pause, on a connection that it keeps."""

    site: Site
    sent: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _restart: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=30)

    def restart(self) -> None:
        """Start the application anew, as its operator does once it has the new password."""
        self._restart.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._restart.clear()
            with self.site.client() as client:
                while not (self._over.wait(0.1) or self._restart.is_set()):
                    self.sent.append(client.send("anywhere.sleep", {"seconds": 0.3}).id)


@pytest.mark.timeout(600)
def test_a_rotation_over_three_hosts_under_load_that_is_killed_half_way_refuses_and_loses_nothing(
    site: Site,
) -> None:
    rotate = ("rotate", "password", "--user", site.user, "--yes", "--wait", "2m")
    before = [host.console("sha256sum", "/etc/fleet/fleet.toml") for host in site.hosts]
    for host in site.hosts:
        python = "/opt/fleet/current/bin/python"
        output = (f"--property=StandardOutput=file:{LOG}", f"--unit={UNIT}")
        host.console("systemd-run", *output, python, "-c", ATTEMPTS, host.name)
    with Load(site) as load:
        with site.running(*rotate) as killed:
            read_until(killed, "now beta")
            killed.send_signal(signal.SIGKILL)
            killed.wait(timeout=10)
        assert users(site) == {site.user, f"{site.user}+b"}
        with site.running(*rotate) as resumed:
            told = read_until(resumed, "fleet client")
            assert f"still connected as {site.user}: fleet client" in told
            load.restart()
            read_until(resumed, "rotated: ")
            assert resumed.wait(timeout=20) == 0
    assert users(site) == {f"{site.user}+b"}
    for host in site.hosts:
        host.console("systemctl", "stop", UNIT)
        lines = attempts(host)
        assert [line for line in lines if not line.startswith("as ")] == []
        assert {*lines} == {f"as {site.user}", f"as {site.user}+b"}
        assert len(lines) > 50
    with site.client() as client:
        done = client.wait(load.sent, timeout_seconds=60)
    assert len(load.sent) > 50
    assert {outcome.outcome for outcome in done.values()} == {"succeeded"}
    assert done.keys() == set(load.sent)
    assert [host.console("sha256sum", "/etc/fleet/fleet.toml") for host in site.hosts] == before


def test_afterwards_there_is_nothing_to_provision_and_no_password_was_told(site: Site) -> None:
    assert "no changes" in site.run("provision", "broker", "--prune", "--check").stderr
    assert "no changes" in site.provision("--check").stderr
    kept = (site.directory / "celery.password").read_text().strip()
    found = json.loads(site.run("hosts", "list", "--json").stdout)
    assert [each["host"] for each in found] == list(WORKERS)
    audit = site.run("audit", "--json").stdout
    assert "rotate password" in audit
    assert kept.removeprefix("fleet-slot-b:") not in audit


SCHEDULE = """\
[broker.users.{user}]
role = "scheduler"
password = "file:{file}"
[schedule.pulse]
task = "anywhere.sleep"
kwargs = {{ seconds = 0 }}
every = 2
[tasks]
"""


def main_pids(host: Host) -> dict[str, str]:
    """Return the main process of each unit of the fleet's that runs on ``host``."""
    command = ("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "fleet-*.service")
    units = [line.split()[0] for line in host.console(*command).splitlines()]
    return {unit: show(host, unit, "MainPID") for unit in units}


def beats(site: Site) -> set[str]:
    """Return the users as whom a beat is connected."""
    rows = site.cluster.nodes[0].api("connections") or []
    named = {row["user"]: row["client_properties"].get("connection_name") for row in rows}
    return {user for user, name in named.items() if name == "fleet beat"}


@pytest.mark.timeout(300)
def test_a_new_password_of_the_scheduler_reaches_beat_on_its_host_and_starts_nothing_else_anew(
    site: Site,
) -> None:
    user, file = f"clock-{site.user}", site.directory / "clock.password"
    write_private(file, "ticks\n")
    site.change("[tasks]\n", SCHEDULE.format(user=user, file=file))
    site.run("provision", "--yes")
    await_that(lambda: beats(site) == {user}, "beat should send as the scheduler", timeout_seconds=30)
    await_rest(*site.hosts)
    # What ended instances leave goes with the next run.
    site.provision("--yes")
    before = {host.name: main_pids(host) for host in site.hosts}
    assert [name for name, units in before.items() if "fleet-beat.service" in units] == [site.alpha.name]
    told = site.run("rotate", "password", "--user", user, "--yes", "--wait", "1m").stderr
    assert f"on host {site.alpha.name};" in told
    assert f"rotated: {user}" in told
    await_that(lambda: beats(site) == {f"{user}+b"}, "beat should go on", timeout_seconds=30)
    after = {host.name: main_pids(host) for host in site.hosts}
    changed = {
        unit for host in before for unit in before[host] if before[host][unit] != after[host].get(unit)
    }
    assert changed == {"fleet-beat.service"}
    assert show(site.alpha, "fleet-beat.service", "StatusText") == "sends the schedule"
    assert "no changes" in site.run("provision", "broker", "--prune", "--check").stderr
    assert "no changes" in site.provision("--check").stderr
