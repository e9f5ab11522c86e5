"""Three machines that are nothing yet become a cluster, by the role for brokers."""

import json
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.daemons.files import write_private
from tests.ansible import Ansible, Played, inventory
from tests.certificates import Authority
from tests.hosts.fixtures import BARE, CleanHosts
from tests.hosts.lab import Host
from tests.hosts.lab.brokers import RELEASES

BROKER = "fleet.fleet.broker"
#: apt knows the package already, and has to look again
LOOKED_YESTERDAY = "apt-get update && touch --date=yesterday /var/lib/apt/lists"
#: Debian's 4.0 writes into files what 3.10 says to the journal
LAST_WORDS = """\
journalctl --unit=rabbitmq-server --lines=60 --no-pager
tail -n 200 /var/log/rabbitmq/*.log
"""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    made = Ansible(tmp_path_factory.mktemp("a"))
    made.install()
    return made


@dataclass(frozen=True, slots=True)
class Machines:
    """What is to become a cluster, and what its operator gives to the role."""

    ansible: Ansible
    hosts: tuple[Host, ...]
    authority: Authority
    cookie: str
    inventory: Path
    given: dict[str, object]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.hosts)

    @property
    def nodes(self) -> set[str]:
        return {f"rabbit@{name}" for name in self.names}

    def play(self, *options: str) -> Played:
        played = self.ansible.play(
            self.inventory, BROKER, "--tags", "install,meet", "--diff", *options, given=self.given
        )
        assert played.exit_code == 0, f"{played.output}\n{self._last_words()}"
        assert self.cookie not in played.output
        assert "PRIVATE KEY" not in played.output
        return played

    def outages(self) -> list[tuple[int, int]]:
        """Return when nodes last went down and came up, in turn; all hosts have this machine's clock."""
        argv = ("systemctl", "show", "--value", "rabbitmq-server")
        moments = ("-p", "ActiveExitTimestampMonotonic"), ("-p", "ActiveEnterTimestampMonotonic")
        down, up = ([int(host.console(*argv, *moment)) for host in self.hosts] for moment in moments)
        return sorted(zip(down, up, strict=True))

    def _last_words(self) -> str:
        return "\n".join(host.console("sh", "-c", LAST_WORDS, check=False) for host in self.hosts)


@pytest.fixture
def machines(ansible: Ansible, clean_hosts: CleanHosts, release: str, tmp_path: Path) -> Iterator[Machines]:
    hosts = clean_hosts(*BARE[release])
    authority, cookie = Authority.create(tmp_path), secrets.token_hex(20)
    write_private(tmp_path / "cookie", cookie)
    for host in hosts:
        host.console("sh", "-c", LOOKED_YESTERDAY)
        issued = authority.issue(host.name, host.address)
        (tmp_path / f"{host.name}.crt").write_bytes(issued.cert.read_bytes())
        write_private(tmp_path / f"{host.name}.key", issued.key.read_text())
    given: dict[str, object] = {
        "fleet_broker_cluster": [f"rabbit@{host.name}" for host in hosts],
        "fleet_broker_cookie_file": tmp_path / "cookie",
        "fleet_broker_tls_ca": authority.cert,
        "fleet_broker_tls_cert": f"{tmp_path}/{{{{ inventory_hostname }}}}.crt",
        "fleet_broker_tls_key": f"{tmp_path}/{{{{ inventory_hostname }}}}.key",
    }
    yield Machines(ansible, hosts, authority, cookie, inventory(tmp_path, "broker", *hosts), given)
    for host in hosts:
        host.power_off()


def status(host: Host) -> tuple[set[str], set[str]]:
    """Return the nodes that it sees running, and the versions that these are of."""
    told = host.console("rabbitmqctl", "--quiet", "cluster_status", "--formatter", "json", timeout_seconds=60)
    seen = json.loads(told)
    return set(seen["running_nodes"]), {one["rabbitmq_version"] for one in seen["versions"].values()}


def make_cluster(machines: Machines, release: str) -> None:
    """Play the role on bare machines, and see that they are a cluster of ``release`` that speaks TLS only."""
    assert machines.play("--check").changed == dict.fromkeys(machines.names, 1)
    made = machines.play()
    assert all(made.changed[name] > 1 for name in machines.names), made.output
    for host in machines.hosts:
        assert status(host) == (machines.nodes, {RELEASES[release].version})
        address = (host.address, 5671)
        ssl.get_server_certificate(address, ca_certs=str(machines.authority.cert), timeout=10)
        assert ":5672 " not in host.console("ss", "--listening", "--tcp", "--numeric", "--no-header")
        owner = host.console("stat", "--format=%U:%G %a", "/etc/rabbitmq/tls/node.key").strip()
        assert owner == "root:rabbitmq 640"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("release", ["3.10"])
def test_bare_machines_become_a_cluster_with_tls(machines: Machines, release: str) -> None:
    make_cluster(machines, release)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("release", ["4.0"])
def test_a_new_cluster_takes_a_changed_setting_and_restarts_one_node_after_the_other(
    machines: Machines, release: str
) -> None:
    make_cluster(machines, release)
    assert {down for down, _ in machines.outages()} == {0}
    machines.given["fleet_broker_config"] = {"channel_max": 512}
    changed = machines.play()
    # The configuration, the restart that it needs, and nothing again of what was done before.
    assert changed.changed == dict.fromkeys(machines.names, 2), changed.output
    assert "+channel_max = 512" in changed.output
    outages = machines.outages()
    assert all(down > 0 for down, _ in outages)
    assert all(up < down for (_, up), (down, _) in pairwise(outages))
    assert status(machines.hosts[0])[0] == machines.nodes
