"""The password of a whole fleet is rotated under load: nobody is refused, and no task is lost."""

import json
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet import Client
from fleet.daemons.files import write_private
from tests.hosts.by_hand import broker_tables
from tests.hosts.fixtures import WORKERS, Clusters
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.brokers import Cluster
from tests.hosts.site import read_until
from tests.servers import clean_environ

FLEET_TOML = """\
[fleet]
name = "lab"
timezone = "UTC"

{broker}
[broker.users.{vhost}-observer]
role = "observer"
password = "file:{here}/observer.password"

[ssh]
user = "root"
key = "{ssh}/id_ed25519"
known_hosts = "{ssh}/known_hosts"
connect_timeout = "5s"

{hosts}
[queues.probe]
tasks = ["probe.*"]

[workers.probe]
queues = ["probe"]
concurrency = 2
stop_timeout = "1m"

[tasks]
imports = ["probe"]
"""
PROBE = """\
import time

from celery import shared_task


@shared_task(name="probe.sleep")
def sleep(seconds):
    time.sleep(seconds)
"""
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


@dataclass(frozen=True, kw_only=True)
class Site:
    """The control machine's files, and three hosts that run what is sent."""

    directory: Path
    hosts: tuple[Host, ...]
    cluster: Cluster
    user: str

    @property
    def environ(self) -> dict[str, str]:
        cache = {"XDG_CACHE_HOME": "/var/cache/fleet-lab/control"}
        return clean_environ() | {"FLEET_FILE": str(self.directory / "fleet.toml")} | cache

    @contextmanager
    def running(self, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        """Run a command as an operator would, for as long as the block."""
        argv = (sys.executable, "-m", "fleet.cli.main", *arguments)
        with subprocess.Popen(
            argv, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as command:
            try:
                yield command
            finally:
                command.kill()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end, and return what it told."""
        with self.running(*arguments) as command:
            out, err = command.communicate(timeout=240)
            assert command.returncode == code, f"{out}\n{err}"
        return out + err

    def users(self) -> set[str]:
        """Return which of the two users of the workers there are."""
        rows = self.cluster.nodes[0].api("users") or []
        return {row["name"] for row in rows} & {self.user, f"{self.user}+b"}

    def attempts(self, host: Host) -> list[str]:
        return host.console("cat", LOG).splitlines()


@pytest.fixture(scope="module")
def site(lab: Lab, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cluster, directory = clusters.single("3.10"), tmp_path_factory.mktemp("control")
    hosts = tuple(lab[name] for name in WORKERS)
    for host in hosts:
        if not host.is_fresh:
            host.reset()
    lab.boot(*WORKERS)
    vhost = f"rotate-{secrets.token_hex(3)}"
    passwords = {name: secrets.token_urlsafe(16) for name in ("celery", "observer")}
    passwords["admin"] = cluster.nodes[0].admin_password.reveal()
    for name, text in passwords.items():
        write_private(directory / f"{name}.password", text + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    (directory / "probe.py").write_text(PROBE)
    (directory / "fleet.toml").write_text(
        FLEET_TOML.format(
            broker=broker_tables(cluster, vhost=vhost, user=vhost, etc=str(directory)),
            vhost=vhost,
            here=directory,
            ssh=hosts[0].ssh_config.parent,
            hosts="".join(f'[hosts.{host.name}]\naddress = "{host.address}"\n' for host in hosts),
        )
    )
    made = Site(directory=directory, hosts=hosts, cluster=cluster, user=vhost)
    made.run("provision", "broker", "--yes")
    made.run("provision", "hosts", "--yes")
    yield made
    for host in hosts:
        host.power_off()


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
            with Client(self.site.directory / "fleet.toml", {}) as client:
                while not (self._over.wait(0.1) or self._restart.is_set()):
                    self.sent.append(client.send("probe.sleep", {"seconds": 0.3}).id)


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
        assert site.users() == {site.user, f"{site.user}+b"}
        with site.running(*rotate) as resumed:
            told = read_until(resumed, "fleet client")
            assert f"still connected as {site.user}: fleet client" in told
            load.restart()
            read_until(resumed, "rotated: ")
            assert resumed.wait(timeout=20) == 0
    assert site.users() == {f"{site.user}+b"}
    for host in site.hosts:
        host.console("systemctl", "stop", UNIT)
        attempts = site.attempts(host)
        assert [line for line in attempts if not line.startswith("as ")] == []
        assert {*attempts} == {f"as {site.user}", f"as {site.user}+b"}
        assert len(attempts) > 50
    with Client(site.directory / "fleet.toml", {}) as client:
        done = client.wait(load.sent, timeout_seconds=60)
    assert len(load.sent) > 50
    assert {outcome.outcome for outcome in done.values()} == {"succeeded"}
    assert done.keys() == set(load.sent)
    assert [host.console("sha256sum", "/etc/fleet/fleet.toml") for host in site.hosts] == before


def test_afterwards_there_is_nothing_to_provision_and_no_password_was_told(site: Site) -> None:
    assert "no changes" in site.run("provision", "broker", "--prune", "--check")
    assert "no changes" in site.run("provision", "hosts", "--check")
    kept = (site.directory / "celery.password").read_text().strip()
    found = json.loads(site.run("hosts", "list", "--json"))
    assert [each["host"] for each in found] == list(WORKERS)
    audit = site.run("audit", "--json")
    assert "rotate password" in audit
    assert kept.removeprefix("fleet-slot-b:") not in audit
