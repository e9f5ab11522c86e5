"""RabbitMQ on hosts of the lab, one node or three: real versions, TLS, and every way of being hurt."""

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import amqp
import pytest
import requests

from provisioning.apply import apply, plan_against
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.objects import Vhost
from provisioning.broker.rabbitmqctl import OWN_INPUT, RabbitmqctlDoor
from provisioning.errors import ChangeRefused
from tests.broker import BrokerNode, BrokerVhost
from tests.broker_model import state
from tests.hosts.fixtures import Clusters
from tests.hosts.lab.brokers import RELEASES, Broker, Cluster
from tests.hosts.lab.system import await_that

QUORUM = {"x-queue-type": "quorum"}


@contextmanager
def channel(vhost: BrokerVhost, **options: Any) -> Iterator[amqp.Channel]:
    """Open a channel on the vhost's node, with every wait bounded."""
    connection = amqp.Connection(
        host=vhost.node.url.removeprefix("amqp://"),
        userid=vhost.user,
        password=vhost.password,
        virtual_host=vhost.name,
        connect_timeout=5,
        read_timeout=30,
        write_timeout=10,
        **options,
    )
    connection.connect()
    try:
        yield connection.channel()
    finally:
        connection.collect()


@pytest.fixture
def cluster_vhost(cluster: Cluster, tmp_path: Path) -> Iterator[BrokerVhost]:
    """A vhost of the test's own on the cluster."""
    made = BrokerVhost.create(cluster.nodes[0], tmp_path)
    try:
        yield made
    finally:
        cluster.mend()
        made.delete()


def running(node: Broker) -> int:
    return len(node.running_nodes())


def test_three_nodes_of_the_right_version_form_a_cluster(cluster: Cluster, release: str) -> None:
    for node in cluster.nodes:
        assert node.host.failed_units() == ()
        overview = node.api("overview")
        assert overview["rabbitmq_version"] == RELEASES[release].version
        assert requests.get(f"http://{node.host.address}:15692/metrics", timeout=10).ok
    (said,) = {
        node.ctl("eval", "application:get_env(rabbit, cluster_partition_handling).") for node in cluster.nodes
    }
    assert "pause_minority" in said


def test_clients_verify_the_nodes_certificates(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    login = (node.admin_user, node.admin_password.reveal())
    trusted = {"auth": login, "timeout": 10, "verify": str(cluster.authority.cert)}
    assert requests.get(f"{node.management_tls_url}/api/overview", **trusted).ok  # type: ignore[arg-type]
    verified = {"server_hostname": node.host.address, "cert_reqs": ssl.CERT_REQUIRED}
    connection = amqp.Connection(
        host=node.tls_url.removeprefix("amqps://"),
        userid=login[0],
        password=login[1],
        ssl=verified | {"ca_certs": str(cluster.authority.cert)},
        connect_timeout=5,
    )
    connection.connect()
    connection.close()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{node.management_tls_url}/api/overview", auth=login, timeout=10)


def test_a_quorum_queue_outlives_a_killed_node_and_the_node_comes_back(
    cluster: Cluster, cluster_vhost: BrokerVhost
) -> None:
    _, second, third = cluster.nodes
    with channel(cluster_vhost, confirm_publish=True) as open_channel:
        open_channel.queue_declare("kept", durable=True, auto_delete=False, arguments=QUORUM)
        third.kill()
        await_that(lambda: running(second) == 2, "the others should notice", timeout_seconds=30)
        # Taken by two of three.
        open_channel.basic_publish_confirm(
            amqp.Message("one", delivery_mode=2), routing_key="kept", timeout=20
        )
    third.restart()
    cluster.await_healthy()
    queue = f"queues/{cluster_vhost.name}/kept"
    await_that(
        lambda: len(third.api(queue)["online"]) == 3, "all replicas should be online", timeout_seconds=30
    )
    with channel(replace(cluster_vhost, node=third)) as open_channel:
        assert open_channel.basic_get("kept", no_ack=True).body == "one"


def test_the_minority_of_a_partition_pauses_and_serves_again_when_it_heals(cluster: Cluster) -> None:
    lonely = cluster.names[2]
    cluster.partition([lonely])
    await_that(lambda: running(cluster.nodes[0]) == 2, "the majority should go on", timeout_seconds=60)
    cluster[lonely].await_paused()
    cluster.heal()
    assert {running(node) for node in cluster.nodes} == {3}


def test_a_node_whose_cable_is_pulled_comes_back_after_plugging_in(cluster: Cluster) -> None:
    cut = cluster.nodes[1]
    cut.host.unplug()
    await_that(lambda: running(cluster.nodes[0]) == 2, "the others should notice", timeout_seconds=60)
    cut.await_paused()
    cut.host.plug()
    cluster.come_together()
    assert running(cut) == 3


@pytest.mark.parametrize("alarm", [Broker.memory_alarm, Broker.disk_alarm])
def test_an_alarm_blocks_publishers_until_it_is_over(
    clusters: Clusters, release: str, alarm: Any, tmp_path: Path
) -> None:
    node = clusters.single(release).nodes[0]
    vhost = BrokerVhost.create(node, tmp_path)
    blocked: list[str] = []
    try:
        options = {
            "on_blocked": blocked.append,
            "on_unblocked": lambda: blocked.append("over"),
            "client_properties": {"capabilities": {"connection.blocked": True}},
        }
        with channel(vhost, **options) as open_channel:
            open_channel.queue_declare("filled", durable=True, auto_delete=False, arguments=QUORUM)
            with alarm(node):
                open_channel.basic_publish(amqp.Message("held back"), routing_key="filled")
                open_channel.connection.drain_events(timeout=20)
                assert len(blocked) == 1
            open_channel.connection.drain_events(timeout=20)
            assert blocked[1:] == ["over"]
    finally:
        vhost.delete()


def test_a_lowered_consumer_timeout_closes_the_channel(
    clusters: Clusters, release: str, tmp_path: Path
) -> None:
    node = clusters.single(release).nodes[0]
    vhost = BrokerVhost.create(node, tmp_path)
    try:
        with node.consumer_timeout(2), channel(vhost) as open_channel:
            open_channel.queue_declare("slow", durable=True, auto_delete=False, arguments=QUORUM)
            open_channel.basic_publish(amqp.Message("unacknowledged"), routing_key="slow")
            open_channel.basic_consume("slow", callback=lambda message: None)
            open_channel.connection.drain_events(timeout=30)
            with pytest.raises(amqp.exceptions.PreconditionFailed, match="timeout"):
                open_channel.connection.drain_events(timeout=30)
    finally:
        vhost.delete()


def test_debians_wrapper_makes_a_vhost_on_3_10_and_is_refused_with_a_hint_on_4(
    clusters: Clusters, release: str
) -> None:
    node = clusters.single(release).nodes[0]
    wrapper = ("ssh", "-F", str(node.host.ssh_config), "--", node.host.name, "rabbitmqctl")
    door = RabbitmqctlDoor(Rabbitmqctl(wrapper))
    name = f"wrapper-{secrets.token_hex(3)}"
    wanted = state([Vhost(name=name)])
    report = apply(plan_against(wanted, door.observe(), door), door)
    if release == "3.10":
        assert report.converged
        node.ctl("delete_vhost", name)
    else:
        assert isinstance(report.error, ChangeRefused)
        assert report.error.hint == OWN_INPUT


def test_a_test_that_needs_a_broker_and_no_host_gets_one_of_each_release(
    each_broker: BrokerNode, each_vhost: BrokerVhost, release: str
) -> None:
    overview = each_vhost.api("GET", "overview")
    assert overview["rabbitmq_version"].startswith(f"{release}.")
    assert "administrator" in each_broker.ctl("list_users", "--silent")
    with channel(each_vhost) as open_channel:
        open_channel.queue_declare("mine", durable=True, auto_delete=False, arguments=QUORUM)
    assert [row["name"] for row in each_vhost.api("GET", f"queues/{each_vhost.name}")] == ["mine"]
