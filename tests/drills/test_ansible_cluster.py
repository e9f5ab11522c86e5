"""Two machines that have the package and nothing else become a cluster, by the role for brokers."""

import json
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.daemons.files import write_private
from tests.ansible import Ansible, Played, inventory
from tests.certificates import Authority
from tests.hosts.fixtures import CLUSTERS, CleanHosts
from tests.hosts.lab import Host

BROKER = "fleet.fleet.broker"
#: as the package leaves a machine on which it was not started
PRISTINE = """\
systemctl stop rabbitmq-server
rm -rf /var/lib/rabbitmq/mnesia /var/lib/rabbitmq/.erlang.cookie /etc/rabbitmq/tls
rm -rf /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/rabbitmq-env.conf /etc/rabbitmq/enabled_plugins
"""
NODES = CLUSTERS["4.0"][:2]


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    made = Ansible(tmp_path_factory.mktemp("a"))
    made.install()
    return made


@pytest.fixture
def bare_nodes(clean_hosts: CleanHosts) -> Iterator[tuple[Host, ...]]:
    """Two machines with the package, which have not been nodes before."""
    hosts = clean_hosts(*NODES)
    for host in hosts:
        host.console("sh", "-c", PRISTINE, timeout_seconds=90)
    yield hosts
    for host in hosts:
        host.power_off()
        host.reset()


def said(hosts: tuple[Host, ...]) -> str:
    """Return the last words of each node."""
    argv = ("journalctl", "--unit=rabbitmq-server", "--lines=60", "--no-pager")
    return "\n".join(host.console(*argv, check=False) for host in hosts)


def running(host: Host) -> set[str]:
    told = host.console("rabbitmqctl", "--quiet", "cluster_status", "--formatter", "json", timeout_seconds=60)
    return set(json.loads(told)["running_nodes"])


def test_two_machines_become_a_cluster_with_tls_and_restart_one_after_the_other(
    ansible: Ansible, bare_nodes: tuple[Host, ...], tmp_path: Path
) -> None:
    hosts, (first, second) = inventory(tmp_path, "broker", *bare_nodes), bare_nodes
    authority, cookie = Authority.create(tmp_path), secrets.token_hex(20)
    write_private(tmp_path / "cookie", cookie)
    for host in bare_nodes:
        issued = authority.issue(host.name, host.address)
        (tmp_path / f"{host.name}.crt").write_bytes(issued.cert.read_bytes())
        write_private(tmp_path / f"{host.name}.key", issued.key.read_text())
    given: dict[str, object] = {
        "fleet_broker_packages": [],
        "fleet_broker_cluster": [f"rabbit@{host.name}" for host in bare_nodes],
        "fleet_broker_cookie_file": tmp_path / "cookie",
        "fleet_broker_tls_ca": authority.cert,
        "fleet_broker_tls_cert": f"{tmp_path}/{{{{ inventory_hostname }}}}.crt",
        "fleet_broker_tls_key": f"{tmp_path}/{{{{ inventory_hostname }}}}.key",
    }

    def play(*options: str) -> Played:
        played = ansible.play(hosts, BROKER, "--tags", "install,meet", "--diff", *options, given=given)
        assert played.exit_code == 0, f"{played.output}\n{said(bare_nodes)}"
        assert cookie not in played.output
        assert "PRIVATE KEY" not in played.output
        return played

    checked = play("--check")
    assert all(checked.changed[name] > 0 for name in NODES), checked.output
    made = play("-vvv")
    assert all(made.changed[name] > 0 for name in NODES), made.output
    both = {f"rabbit@{name}" for name in NODES}
    assert running(first) == running(second) == both
    for host in bare_nodes:
        ssl.get_server_certificate((host.address, 5671), ca_certs=str(authority.cert), timeout=10)
        assert ":5672 " not in host.console("ss", "--listening", "--tcp", "--numeric", "--no-header")
        owner = host.console("stat", "--format=%U:%G %a", "/etc/rabbitmq/tls/node.key").strip()
        assert owner == "root:rabbitmq 640"
    assert play().changed == dict.fromkeys(NODES, 0)

    pids = [
        host.console("systemctl", "show", "--value", "-p", "MainPID", "rabbitmq-server")
        for host in bare_nodes
    ]
    given["fleet_broker_config"] = {"channel_max": 512}
    changed = play()
    # The configuration, and the restart that it needs.
    assert changed.changed == dict.fromkeys(NODES, 2), changed.output
    assert "+channel_max = 512" in changed.output
    now = [
        host.console("systemctl", "show", "--value", "-p", "MainPID", "rabbitmq-server")
        for host in bare_nodes
    ]
    assert not set(pids) & set(now)
    assert running(first) == running(second) == both
