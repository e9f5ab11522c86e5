"""`fleet doctor broker` looks at a cluster on hosts: each release, all nodes there, one dead, one cut off."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import fleetfile
from fleet.doctor.finding import Level
from fleet.doctor.management import ManagementView
from fleet.model import Fleet
from fleet.ops.doctor import Examination, examine
from fleet.ops.provision import provision_broker
from tests.broker import BrokerVhost, hosts_and_workers
from tests.hosts.lab.brokers import Cluster
from tests.hosts.lab.system import await_that
from tests.servers import RunFleet


@pytest.fixture
def vhost(cluster: Cluster, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost that provisioning makes, on the first node of a cluster that is whole afterwards."""
    named = BrokerVhost.name_only(cluster.nodes[0], tmp_path)
    try:
        yield named
    finally:
        cluster.mend()
        named.delete()


@pytest.fixture
def fleet(cluster: Cluster, vhost: BrokerVhost) -> Fleet:
    """A provisioned fleet that names every node, by TLS, and the management API over TLS."""
    body = f'[broker.tls]\nca = "{cluster.authority.cert}"\n{hosts_and_workers()}'
    text = vhost.fleet_toml(body)
    nodes = ", ".join(f'"{node.tls_url}"' for node in cluster.nodes)
    text = text.replace(f'url = "{vhost.node.url}"', f"nodes = [{nodes}]", 1)
    management = f'url = "{cluster.nodes[0].management_tls_url}"\nca = "{cluster.authority.cert}"'
    text = text.replace(f'url = "{vhost.node.management_url}"', management)
    path = vhost.directory / "fleet.toml"
    path.write_text(text)
    made = fleetfile.read(str(path))
    assert provision_broker(made, {}).converged
    return made


def levels(examination: Examination) -> dict[str, set[Level]]:
    found: dict[str, set[Level]] = {}
    for finding in examination.findings:
        found.setdefault(finding.check, set()).add(finding.level)
    return {check: levels for check, levels in found.items() if levels != {Level.OK}}


def told(examination: Examination, check: str) -> list[str]:
    return [f"{f.level}: {f.message}" for f in examination.findings if f.check == check]


def test_a_cluster_is_sound_and_a_dead_node_is_told_by_every_check_that_it_concerns(
    cluster: Cluster, vhost: BrokerVhost, fleet: Fleet, release: str
) -> None:
    def whole() -> bool:
        return all("of 3)" not in line for line in told(examine(fleet, {}), "quorum"))

    await_that(whole, "every queue should have three members online", timeout_seconds=30)
    # Both releases are past their end, and the short queues may run longer than the nodes wait.
    expected = {"version": {Level.WARN}, "consumer-timeout": {Level.WARN}, "certificates": {Level.WARN}}
    if release == "3.10":
        expected["nodes"] = {Level.OK, Level.WARN}
    assert levels(examine(fleet, {})) == expected
    vhost.api("PUT", f"queues/{vhost.name}/passing", {"durable": False})
    assert "warn: transient queues that are not exclusive: passing" in told(examine(fleet, {}), "deprecated")
    # RabbitMQ names them itself from 3.13 on; what it names is counted once.
    node = cluster.nodes[0]
    view = ManagementView((node.management_url,), user=node.admin_user, password=node.admin_password.reveal())
    assert ("transient_nonexcl_queues" in view.deprecated_in_use()) is (release == "4.0")
    assert len(told(examine(fleet, {}), "deprecated")) == 1
    dead = cluster.nodes[2]
    dead.kill()
    await_that(
        lambda: any("is down" in line for line in told(examine(fleet, {}), "nodes")),
        "the others should notice",
        timeout_seconds=60,
    )
    found = examine(fleet, {})
    assert told(found, "nodes")[0] == f"fail: node {dead.name} is down"
    assert told(found, "addresses")[0].startswith(f"fail: `{dead.host.address}:5671` does not answer")
    # What the management API says of queues lags some seconds behind what it says of nodes.
    await_that(
        lambda: any(
            line.startswith("warn: a member is offline") for line in told(examine(fleet, {}), "quorum")
        ),
        "the queues should have lost a member",
        timeout_seconds=30,
    )
    command = replace(fleet, broker=replace(fleet.broker, management=None))
    assert told(examine(command, {}), "nodes")[0] == f"fail: node {dead.name} is down"
    assert any("a member is offline" in line for line in told(examine(command, {}), "quorum"))


# 3.10 answers each time half a minute late for as long as a node is cut off, which takes too long here.
@pytest.mark.parametrize("release", ["4.0"], indirect=True)
def test_a_node_that_is_cut_off_is_told_by_the_majority_and_a_queue_that_lost_its_own_too(
    cluster: Cluster, vhost: BrokerVhost, fleet: Fleet, run_fleet: RunFleet
) -> None:
    near, lonely = cluster.nodes[0], cluster.nodes[2]
    # rabbitmqctl takes a second for each question, and longer over SSH.
    fleet = replace(fleet, broker=replace(fleet.broker, rabbitmqctl=None))
    # Of its two copies one is on the node to which it was declared.
    pair = {"durable": True, "arguments": {"x-queue-type": "quorum", "x-quorum-initial-group-size": 2}}
    replace(vhost, node=lonely).api("PUT", f"queues/{vhost.name}/pair", pair)
    await_quorum(fleet, "pair (2 of 2)")
    # There is one door, and the first address that is asked is the lonely node's.
    file = vhost.directory / "fleet.toml"
    first = f'urls = ["{lonely.management_tls_url}", "{near.management_tls_url}"]'
    text = file.read_text().replace(f'url = "{near.management_tls_url}"', first)
    file.write_text(text.replace(f'rabbitmqctl = ["{near.rabbitmqctl[0]}"]\n', ""))
    cluster.partition([lonely.host.name])
    lonely.await_paused()
    await_that(lambda: len(near.running_nodes()) == 2, "the majority should go on", timeout_seconds=30)
    await_quorum(fleet, "no majority")
    done = run_fleet("doctor", "broker", "--json", file=file, timeout=120)
    assert done.returncode == 4, done.stderr
    found = [row for row in json.loads(done.stdout)["findings"] if row["level"] == "fail"]
    assert [(row["check"], row["message"]) for row in found if row["check"] != "addresses"] == [
        ("nodes", f"node {lonely.name} is down"),
        ("quorum", "no majority: pair (1 of 2); they take and give nothing"),
    ]
    for port in (5671, 15671):
        assert f'"`{lonely.host.address}:{port}` does not answer: ' in done.stdout
    assert '"a member is offline: ' in done.stdout
    # Who asks the lonely node alone hears nothing, and is told so.
    file.write_text(file.read_text().replace(f', "{near.management_tls_url}"', ""))
    done = run_fleet("doctor", "broker", file=file)
    assert done.returncode == 5
    assert "no door of the broker answered" in done.stderr


def await_quorum(fleet: Fleet, words: str) -> None:
    """Return once the check of majorities says ``words``: statistics lag behind what they are about."""
    await_that(
        lambda: any(words in line for line in told(examine(fleet, {}), "quorum")),
        f"the queues should be told as `{words}`",
        timeout_seconds=30,
    )
