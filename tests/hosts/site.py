"""A control machine's files for hosts of a lab: a fleet file, secrets, a task module of the operator's."""

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet import Client
from fleet.daemons.files import write_private
from fleet.fleetfile import read
from fleet.hosts.units import worker_unit
from fleet.model import SLOTS, Fleet
from tests.hosts.by_hand import broker_tables
from tests.hosts.lab import Host
from tests.hosts.lab.brokers import Cluster
from tests.hosts.lab.system import await_that
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
per_host = true
[queues.anywhere]
tasks = ["anywhere.*"]

[workers.probe]
queues = ["probe", "anywhere"]
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


@shared_task(name="anywhere.sleep")
def sleep_anywhere(seconds):
    time.sleep(seconds)
"""
OLD, NEW = "fleet-worker@probe-a.service", "fleet-worker@probe-b.service"
BROKEN_PROBE = "raise RuntimeError('broken by the operator')\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The control machine's files, and its hosts."""

    directory: Path
    hosts: tuple[Host, ...]
    cluster: Cluster
    #: the fleet's own user in the broker; the vhost has the same name
    user: str
    #: what is kept in a file of this name, in the beginning
    passwords: Mapping[str, str]

    @property
    def alpha(self) -> Host:
        """The first host."""
        return self.hosts[0]

    @property
    def beta(self) -> Host:
        """The second host."""
        return self.hosts[1]

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which an operator works there."""
        cache = {"XDG_CACHE_HOME": "/var/cache/fleet-lab/control"}
        return clean_environ() | {"FLEET_FILE": str(self.directory / "fleet.toml")} | cache

    def provision(self, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run `fleet provision hosts` and expect it to end with ``code``."""
        return self.run("provision", "hosts", *arguments, code=code)

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

    def run(
        self, *arguments: str, code: int = 0, code_of: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as an operator would, and expect it to end with ``code``.

        ``code_of`` is where another release of fleet lies.
        """
        argv = (sys.executable, "-m", "fleet.cli.main", *arguments)
        done = subprocess.run(
            argv, cwd=code_of, env=self.environ, capture_output=True, text=True, timeout=240, check=False
        )
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


def make_site(directory: Path, cluster: Cluster, *hosts: Host, one_user: bool = False) -> Site:
    """Write the files for hosts that are on, and provision the broker; the hosts stay as they are.

    Each host has broker users of its own, or all share ``one_user``.
    """
    vhost = f"hosts-{secrets.token_hex(3)}"
    own = () if one_user else tuple(host.name for host in hosts)
    passwords = {name: secrets.token_urlsafe(16) for name in ("celery", "observer", *own)}
    passwords["admin"] = cluster.nodes[0].admin_password.reveal()
    for name, text in passwords.items():
        write_private(directory / f"{name}.password", text + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    (directory / "probe.py").write_text(PROBE)
    broker = broker_tables(cluster, vhost=vhost, user=vhost, etc=str(directory))
    if own:
        per_host = f'profile = "per-host"\nhost_password = "file:{directory}/{{host}}.password"\n'
        broker = broker.replace("[broker.tls]", f"{per_host}[broker.tls]")
    (directory / "fleet.toml").write_text(
        FLEET_TOML.format(
            broker=broker,
            vhost=vhost,
            here=directory,
            ssh=hosts[0].ssh_config.parent,
            hosts="".join(f'[hosts.{host.name}]\naddress = "{host.address}"\n' for host in hosts),
        )
    )
    site = Site(directory=directory, hosts=hosts, cluster=cluster, user=vhost, passwords=passwords)
    site.run("provision", "broker", "--yes")
    return site


def read_until(running: "subprocess.Popen[str]", wanted: str) -> str:
    """Read what a command tells until a line has ``wanted``."""
    lines, began = [], time.monotonic()
    assert running.stderr is not None
    for line in running.stderr:
        print(f"{time.monotonic() - began:6.1f} s  {line}", end="")
        lines.append(line)
        if wanted in line:
            return "".join(lines)
    raise AssertionError(f"`{wanted}` was not told: {''.join(lines)}")


def show(host: Host, unit: str, name: str = "ActiveState") -> str:
    """Return a property of a unit."""
    return host.console("systemctl", "show", "--value", f"--property={name}", unit).strip()


def states(host: Host) -> dict[str, str]:
    """Return in which state the instance in each slot is."""
    return {slot: show(host, worker_unit("probe", slot)) for slot in SLOTS}


def works(site: Site, *hosts: str) -> bool:
    """Tell whether each host runs what is sent to it."""
    with site.client() as client:
        sent = [client.send("probe.sleep", {"seconds": 0}, host=host) for host in hosts]
        done = client.wait([task.id for task in sent], timeout_seconds=30)
    return {outcome.outcome for outcome in done.values()} == {"succeeded"}


def await_rest(*hosts: Host) -> None:
    """Wait until no old instance is ending any more."""
    for host in hosts:
        await_that(
            lambda host=host: "deactivating" not in states(host).values(),  # type: ignore[misc]
            "the old instances should end",
            timeout_seconds=60,
        )
