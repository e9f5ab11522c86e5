"""How is a case staged on hosts of the lab? Workers there, as a systemd unit; publishers on this machine."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fleet.daemons.files import write_private
from tests.broker import BrokerVhost
from tests.faults.stage import TASKS, Stage
from tests.faults.subjects import LONG, SHORT, FleetSubject, fleet_body
from tests.hosts.lab import Host
from tests.hosts.lab.broker_files import ADMIN_USER, AMQPS
from tests.hosts.lab.brokers import Cluster
from tests.servers import answers_ok, ready_urls

ETC, STATE = "/etc/fleet", "/var/lib/fleet"
#: not below the state directory, whose disk may be full
EFFECTS = "/var/lib/faults/effects"
SERVICE = "fleet-workers.service"
UNIT = f"""\
[Unit]
After=network.target
StartLimitIntervalSec=0

[Service]
User=fleet
StateDirectory=faults
Environment=FLEET_FILE={ETC}/fleet.toml
Environment=FAULTS_HOST=%H FAULTS_EFFECTS={EFFECTS}
ExecStart=/opt/fleet/bin/fleet worker --host %H
KillMode=mixed
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
FLEET_TOML = """\
[fleet]
name = "faults"
timezone = "UTC"
state_dir = "{state}"

[broker]
nodes = [{nodes}]
vhost = "{vhost}"
user = "{user}"
password = "file:{etc}/celery.password"
[broker.tls]
ca = "{etc}/ca.pem"
[broker.management]
url = "{management}"
user = "{admin}"
password = "file:{etc}/admin.password"
ca = "{etc}/ca.pem"

{body}
"""


@dataclass(slots=True)
class HostStage(Stage):
    """A case whose workers run on hosts."""

    hosts: Mapping[str, Host] = field(default_factory=dict)

    def traces(self) -> Iterable[str]:
        """Return what the tasks of each host have written, whether it is on or off."""
        return [host.read(EFFECTS).decode() for host in self.hosts.values()]

    def is_ready(self, name: str) -> bool:
        """Tell whether the workers of host ``name`` take tasks."""
        assert isinstance(self.subject, FleetSubject)
        file = self.subject.file
        urls = [url for kind in (SHORT, LONG) for url in ready_urls(file, host=name, worker=kind)]
        return all(map(answers_ok, urls))

    def await_workers(self, *, seconds: float = 120) -> None:
        """Return once the workers of all hosts take tasks."""
        self.until(
            lambda: all(map(self.is_ready, self.hosts)), "all workers should be ready", seconds=seconds
        )

    def start(self, kind: str = SHORT, *hosts: str) -> None:
        """Start the workers of all hosts."""
        for name in hosts or tuple(self.hosts):
            self.hosts[name].run("systemctl", "enable", "--now", SERVICE)
        self.await_workers()

    def close(self) -> None:
        """End publishers and workers, and keep what these said; hosts end with their lab."""
        for host in self.hosts.values():
            if not host.is_on:
                continue
            host.plug()
            (self.directory / f"journal-{host.name}.log").write_text(host.journal())
            host.console("systemctl", "kill", "--signal=KILL", SERVICE, check=False)
            host.console("systemctl", "disable", "--now", SERVICE, check=False)
        Stage.close(self)


def host_stage(cluster: Cluster, hosts: tuple[Host, ...], *, wheel: Path, directory: Path) -> HostStage:
    """Provision the broker and put the fleet onto ``hosts``; no worker runs yet."""
    vhost = BrokerVhost.name_only(cluster.nodes[0], directory)
    admin = cluster.nodes[0].admin_password.reveal()
    for name, text in (("celery", vhost.password), ("admin", admin)):
        write_private(directory / f"{name}.password", text + "\n")
    (directory / "ca.pem").write_bytes(cluster.authority.cert.read_bytes())
    file = directory / "fleet.toml"
    body = fleet_body(addresses={host.name: host.address for host in hosts})
    file.write_text(_toml(cluster, vhost, body, etc=str(directory), state=str(directory / "state")))
    subject = FleetSubject(vhost=vhost, file=file)
    subject.provision()
    text = _toml(cluster, vhost, body, etc=ETC, state=STATE)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _install(host, text, wheel, directory), hosts))
    return HostStage(subject=subject, directory=directory, hosts={host.name: host for host in hosts})


def _toml(cluster: Cluster, vhost: BrokerVhost, body: str, *, etc: str, state: str) -> str:
    nodes = ", ".join(f'"amqps://{node.host.address}:{AMQPS}"' for node in cluster.nodes)
    return FLEET_TOML.format(
        etc=etc,
        state=state,
        nodes=nodes,
        vhost=vhost.name,
        user=vhost.user,
        management=cluster.nodes[0].management_tls_url,
        admin=ADMIN_USER,
        body=body,
    )


def _install(host: Host, fleet_toml: str, wheel: Path, directory: Path) -> None:
    host.console("useradd", "--system", "--home-dir", STATE, "--shell", "/usr/sbin/nologin", "fleet")
    host.run("install", "-d", "-o", "fleet", "-m", "0700", STATE)
    host.put(f"/srv/{wheel.name}", wheel)
    host.run("/opt/fleet/bin/pip", "install", "--quiet", "--no-index", "--no-deps", f"/srv/{wheel.name}")
    host.put(f"{ETC}/fleet.toml", fleet_toml)
    host.put(f"{ETC}/ca.pem", directory / "ca.pem")
    host.put(f"{ETC}/celery.password", directory / "celery.password", mode=0o400, owner="fleet")
    host.put(f"{ETC}/{TASKS.name}", TASKS)
    host.put(EFFECTS, "", owner="fleet")
    host.put(f"/etc/systemd/system/{SERVICE}", UNIT)
