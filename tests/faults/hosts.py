"""How is a case staged on hosts of the lab? Workers there, as a systemd unit; publishers on this machine."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fleet.daemons.files import write_private
from tests.broker import BrokerVhost
from tests.faults.stage import TASKS, Stage
from tests.faults.subjects import LONG, SHORT, FleetSubject, fleet_body
from tests.hosts.by_hand import ETC, SERVICE, STATE, broker_tables, install
from tests.hosts.lab import Host
from tests.hosts.lab.brokers import Cluster
from tests.servers import answers_ok, ready_urls

#: not below the state directory, whose disk may be full
EFFECTS = "/var/lib/faults/effects"
FLEET_TOML = """\
[fleet]
name = "faults"
timezone = "UTC"
state_dir = "{state}"

{broker}
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
    broker = broker_tables(cluster, vhost=vhost.name, user=vhost.user, etc=etc)
    return FLEET_TOML.format(state=state, broker=broker, body=body)


def _install(host: Host, fleet_toml: str, wheel: Path, directory: Path) -> None:
    traced = {"FAULTS_HOST": "%H", "FAULTS_EFFECTS": EFFECTS}
    install(host, wheel=wheel, fleet_toml=fleet_toml, secrets=directory, environ=traced)
    host.put(f"{ETC}/{TASKS.name}", TASKS)
    host.put(EFFECTS, "", owner="fleet")
