"""Worker hosts of a lab, to be provisioned by `fleet provision hosts` and by Ansible with our role."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.daemons.files import write_private
from tests.ansible import BIN, Ansible
from tests.hosts.by_hand import broker_tables
from tests.hosts.lab import Host, HostSpec, Image, Lab
from tests.hosts.lab.brokers import RELEASES, Cluster, broker_specs
from tests.hosts.lab.keeper import WORKERS
from tests.hosts.lab.wheels import suite_of_this_python
from tests.servers import clean_environ

BROKER = "mq"
PROVISION_SECONDS = 280
FLEET_TOML = """\
[fleet]
name = "bench"

{broker}
[broker.users.{vhost}-observer]
role = "observer"
password = "file:{here}/observer.password"

[ssh]
user = "root"
key = "{ssh}/id_ed25519"
known_hosts = "{ssh}/known_hosts"

{hosts}
[queues.shop]
tasks = ["shop.*"]

[workers.shop]
queues = ["shop"]
concurrency = 2

[tasks]
imports = ["shop"]
"""
SHOP = """\
from celery import shared_task


@shared_task(name="shop.charge")
def charge(order):
    return order
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHosts:
    """Hosts that are on, the files of their control machine, and two ways to provision them."""

    lab: Lab
    names: Sequence[str]
    directory: Path
    ansible: Ansible

    def reset(self) -> None:
        """Give every host a new disk, and boot all of them."""
        for name in self.names:
            self.lab[name].reset()
        self.lab.boot(*self.names)

    def fleet(self, *arguments: str, code: int = 0) -> float:
        """Run a command of fleet's; return how long that took (s)."""
        started = time.perf_counter()
        done = subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", *arguments),
            env=clean_environ() | self._environ | {"FLEET_FILE": str(self._file)},
            capture_output=True,
            text=True,
            timeout=PROVISION_SECONDS,
            check=False,
        )
        seconds = time.perf_counter() - started
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return seconds

    def play(self, *options: str, changed: int) -> float:
        """Play for all hosts and expect ``changed`` tasks of each; return how long that took (s)."""
        given = {"fleet_worker_file": self._file, "fleet_worker_command": BIN / "fleet"}
        inventory = self.directory / "fleet.yml"
        started = time.perf_counter()
        played = self.ansible.play(inventory, "fleet.fleet.site", *options, given=given)
        seconds = time.perf_counter() - started
        assert played.exit_code == 0, played.output
        assert set(played.changed.values()) == {changed}, played.output
        return seconds

    @property
    def _file(self) -> Path:
        return self.directory / "fleet.toml"

    @property
    def _environ(self) -> dict[str, str]:
        return dict(self.ansible.environ)


@contextmanager
def worker_hosts(count: int, directory: Path) -> Iterator[WorkerHosts]:
    """Start a lab of a broker, which is provisioned, and of ``count`` bare worker hosts, which are off."""
    names = WORKERS[:count]
    plain = Image(suite=suite_of_this_python())
    specs = (
        *broker_specs((BROKER,), RELEASES["3.10"]),
        *(HostSpec(name=name, image=plain) for name in names),
    )
    with Lab.start(f"bench-{os.getpid()}", specs) as lab:
        cluster = Cluster(lab, (BROKER,), directory)
        cluster.boot()
        hosts = [lab[name] for name in names]
        _write_files(directory, cluster, hosts)
        # Both sides find what they have compiled and downloaded before.
        caches = {
            "XDG_CACHE_HOME": "/var/cache/fleet-lab/control",
            "PYTHONPYCACHEPREFIX": str(directory / "compiled"),
        }
        ansible = Ansible(directory / "a", caches | {"ANSIBLE_FORKS": str(count)})
        ansible.home.mkdir()
        ansible.install()
        made = WorkerHosts(lab=lab, names=names, directory=directory, ansible=ansible)
        made.fleet("provision", "broker", "--yes")
        yield made


def _write_files(directory: Path, cluster: Cluster, hosts: Sequence[Host]) -> None:
    vhost = f"bench-{secrets.token_hex(3)}"
    for name in ("celery", "observer", *(host.name for host in hosts)):
        write_private(directory / f"{name}.password", secrets.token_urlsafe(16) + "\n")
    admin = cluster.nodes[0].admin_password.reveal()
    write_private(directory / "admin.password", admin + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    (directory / "shop.py").write_text(SHOP)
    (directory / "fleet.yml").write_text("plugin: fleet.fleet.hosts\nfile: fleet.toml\n")
    broker = broker_tables(cluster, vhost=vhost, user=vhost, etc=str(directory)).replace(
        "[broker.tls]",
        f'profile = "per-host"\nhost_password = "file:{directory}/{{host}}.password"\n[broker.tls]',
    )
    (directory / "fleet.toml").write_text(
        FLEET_TOML.format(
            broker=broker,
            vhost=vhost,
            here=directory,
            ssh=hosts[0].ssh_config.parent,
            hosts="".join(f'[hosts.{host.name}]\naddress = "{host.address}"\n' for host in hosts),
        )
    )
