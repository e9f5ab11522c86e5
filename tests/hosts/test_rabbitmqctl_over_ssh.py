"""A broker without a management plugin to be reached: rabbitmqctl on its own host, over SSH."""

import json
import subprocess
import sys
from pathlib import Path

from tests.broker import BrokerVhost, hosts_and_workers
from tests.hosts.fixtures import Clusters
from tests.hosts.lab.brokers import CTL
from tests.servers import clean_environ


def fleet(file: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = (sys.executable, "-m", "fleet.cli.main", "--file", str(file), *arguments)
    return subprocess.run(argv, env=clean_environ(), capture_output=True, text=True, timeout=120, check=False)


def test_a_broker_is_provisioned_and_examined_through_rabbitmqctl_on_its_host(
    clusters: Clusters, release: str, tmp_path: Path
) -> None:
    node = clusters.single(release).nodes[0]
    vhost = BrokerVhost.name_only(node, tmp_path)
    keys = node.host.ssh_config.parent
    text = vhost.fleet_toml(
        f'[ssh]\nuser = "root"\nkey = "{keys}/id_ed25519"\nknown_hosts = "{keys}/known_hosts"\n'
        + hosts_and_workers()
    )
    # In place of the management API, and of a program of this machine.
    head, _, rest = text.partition("[broker.management]")
    head = "".join(line for line in head.splitlines(keepends=True) if not line.startswith("rabbitmqctl"))
    # Debian's own wrapper hands its arguments to a second shell.
    there = f'rabbitmqctl = {json.dumps(CTL)}\nrabbitmqctl_host = "{node.host.address}"\n'
    file = tmp_path / "fleet.toml"
    file.write_text(head + there + rest[rest.index("\n[") :])
    try:
        made = fleet(file, "provision", "broker", "--yes")
        assert made.returncode == 0, made.stderr
        assert "no changes" in fleet(file, "provision", "broker", "--check").stderr
        told = fleet(file, "doctor", "broker")
        assert "seen through rabbitmqctl" in told.stdout, told.stdout + told.stderr
        file.write_text(file.read_text().replace("/usr/lib/rabbitmq/bin/", "/nowhere/"))
        lost = fleet(file, "provision", "broker", "--check")
        assert lost.returncode == 5
        assert f"/nowhere/rabbitmqctl --silent --timeout 60 on {node.host.address}" in lost.stderr
    finally:
        vhost.delete()
