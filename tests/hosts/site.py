"""A control machine's files and two bare hosts: what tests of changes of hosts begin with.

Bringing a host from nothing to workers that run takes longer than any of those tests, so it is done once: by
`test_provision_hosts`, and `test_provisioned_life` goes on where that ends. Either runs alone, too.
"""

import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet import Client
from fleet.daemons.files import write_private
from fleet.fleetfile import read
from fleet.model import Fleet
from tests.hosts.by_hand import broker_tables
from tests.hosts.fixtures import WORKERS, Clusters
from tests.hosts.lab import Host, Lab
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

[hosts.alpha]
address = "{alpha}"
[hosts.beta]
address = "{beta}"

[queues.probe]
tasks = ["probe.*"]
per_host = true

[workers.probe]
queues = ["probe"]
concurrency = 2
stop_timeout = "2m"

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
OLD, NEW = "fleet-worker@probe-a.service", "fleet-worker@probe-b.service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The control machine's files, and two hosts."""

    directory: Path
    alpha: Host
    beta: Host

    def provision(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run `fleet provision hosts` and expect it to end with ``code``."""
        return self.run("provision", "hosts", *arguments, code=code)

    def run(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command as an operator would, and expect it to end with ``code``."""
        argv = (sys.executable, "-m", "fleet.cli.main", *arguments)
        cache = {"XDG_CACHE_HOME": "/var/cache/fleet-lab/control"}
        environ = clean_environ() | {"FLEET_FILE": str(self.directory / "fleet.toml")} | cache
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def change(self, old: str, new: str) -> None:
        """Change a text in the fleet file."""
        path = self.directory / "fleet.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def load(self) -> Fleet:
        """Read the fleet file."""
        return read(str(self.directory / "fleet.toml"))

    def client(self) -> Client:
        return Client(self.directory / "fleet.toml", {})


def show(host: Host, unit: str, name: str = "ActiveState") -> str:
    return host.console("systemctl", "show", "--value", f"--property={name}", unit).strip()


@pytest.fixture(scope="session")
def site(lab: Lab, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Site:
    cluster, directory = clusters.single("3.10"), tmp_path_factory.mktemp("control")
    alpha, beta = lab[WORKERS[0]], lab[WORKERS[1]]
    alpha.reset()
    beta.reset()
    lab.boot(alpha.name, beta.name)
    vhost = f"hosts-{secrets.token_hex(3)}"
    passwords = {name: secrets.token_urlsafe(16) for name in ("celery", "alpha", "beta", "observer")}
    passwords["admin"] = cluster.nodes[0].admin_password.reveal()
    for name, text in passwords.items():
        write_private(directory / f"{name}.password", text + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    (directory / "probe.py").write_text(PROBE)
    broker = broker_tables(cluster, vhost=vhost, user=vhost, etc=str(directory)).replace(
        "[broker.tls]",
        f'profile = "per-host"\nhost_password = "file:{directory}/{{host}}.password"\n[broker.tls]',
    )
    (directory / "fleet.toml").write_text(
        FLEET_TOML.format(
            broker=broker,
            vhost=vhost,
            here=directory,
            ssh=alpha.ssh_config.parent,
            alpha=alpha.address,
            beta=beta.address,
        )
    )
    argv = (sys.executable, "-m", "fleet.cli.main", "provision", "broker", "--yes")
    environ = clean_environ() | {"FLEET_FILE": str(directory / "fleet.toml")}
    subprocess.run(argv, env=environ, check=True, capture_output=True, timeout=60)
    return Site(directory=directory, alpha=alpha, beta=beta)


@pytest.fixture(scope="session")
def provisioned(site: Site) -> Site:
    """The site, once its hosts have been provisioned from nothing."""
    told = site.provision("--check", code=4).stdout
    assert "+ release " in told
    assert "+ unit fleet-worker@probe-a.service" in told
    assert "not-found" in show(site.alpha, OLD, "LoadState")
    site.provision("--yes")
    return site
