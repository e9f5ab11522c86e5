"""A program that goes on sending while its broker dies, comes back, or stops taking messages.

RabbitMQ 3.10 and 4.0 write the names of new quorum queues down within three minutes or when they stop;
killed before, it finds no leader for them ever again. So each is made to after its queue was made.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import Client
from fleet.daemons.rabbitmq import RabbitNode
from fleet.model import Node, Tls
from tests.broker import BrokerVhost
from tests.hosts.fixtures import Clusters
from tests.hosts.lab.broker_files import AMQPS
from tests.hosts.lab.brokers import RELEASES, Broker
from tests.hosts.lab.system import machine_suite
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on

WRITE_NAMES_DOWN = "[dets:sync(Table) || Table <- dets:all()]."


@pytest.fixture
def own_site(own_rabbit: RabbitNode, tmp_path: Path) -> Site:
    """A fleet on a node that may be killed."""
    site = site_on(BrokerVhost.create(own_rabbit, tmp_path))
    site.declare(EMAIL_QUEUE)
    own_rabbit.restart()
    return site


def other_release() -> str:
    (release,) = (name for name, known in RELEASES.items() if known.suite != machine_suite())
    return release


@pytest.fixture
def other_broker(clusters: Clusters) -> Broker:
    """A node of the release that this machine's own Debian does not have; it may be killed."""
    return clusters.single(other_release()).nodes[0]


@pytest.fixture
def guarded_site(other_broker: Broker, clusters: Clusters, tmp_path: Path) -> Iterator[Site]:
    """A fleet that reaches that node over TLS, and shows it a certificate of its own."""
    vhost = BrokerVhost.create(other_broker, tmp_path)
    site = site_on(vhost)
    site.declare(EMAIL_QUEUE)
    other_broker.ctl("eval", WRITE_NAMES_DOWN)
    authority = clusters.single(other_release()).authority
    client = authority.issue("sender", client=True)
    node = Node(host=other_broker.host.address, port=AMQPS, tls=True)
    tls = Tls(ca=str(authority.cert), cert=str(client.cert), key=str(client.key))
    broker = replace(site.fleet.broker, nodes=(node,), tls=tls)
    try:
        yield replace(site, fleet=replace(site.fleet, broker=broker))
    finally:
        vhost.delete()


def arrived(site: Site) -> list[str]:
    return [str(message.headers["id"]) for message in site.messages(EMAIL_QUEUE.name)]


def forward_all(site: Site, path: Path) -> int:
    """Forward until nothing is left; return how many tries that took: a broker that starts may refuse."""
    tries, deadline = 1, time.monotonic() + 60
    with Client(site.fleet, {}, outbox=path) as client:
        while (done := client.forward()).left:
            assert time.monotonic() < deadline, done
            tries += 1
            time.sleep(0.2)
    return tries


class Sending:
    """Sends one task after the other from a thread of its own, until told to stop."""

    def __init__(self, site: Site, path: Path) -> None:
        self.ids: list[str] = []
        self.kept = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(site, path), name="sending")
        self._thread.start()

    def await_more(self, tasks: int, *, kept: bool = False) -> None:
        """Wait until so many more tasks were accepted, or kept."""
        start = self.kept if kept else len(self.ids)
        deadline = time.monotonic() + 60
        while (self.kept if kept else len(self.ids)) < start + tasks:
            assert self._thread.is_alive(), "a task was not accepted"
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _work(self, site: Site, path: Path) -> None:
        with Client(site.fleet, {}, outbox=path) as client:
            while not self._stop.is_set():
                sent = client.send("shop.charge", {"number": len(self.ids)})
                self.ids.append(sent.id)
                self.kept += sent.in_outbox
                if sent.in_outbox:
                    # A broker takes seconds to start; some hundred tasks are backlog enough.
                    self._stop.wait(0.05)


def test_every_task_arrives_in_order_though_the_broker_is_killed_in_between(
    own_site: Site, own_rabbit: RabbitNode, tmp_path: Path
) -> None:
    go_through_an_outage(own_site, own_rabbit, tmp_path)


def test_the_same_holds_on_the_other_release_over_mutual_tls(
    guarded_site: Site, other_broker: Broker, tmp_path: Path
) -> None:
    go_through_an_outage(guarded_site, other_broker, tmp_path)


def go_through_an_outage(site: Site, node: RabbitNode | Broker, tmp_path: Path) -> None:
    path = tmp_path / "box" / "outbox.sqlite3"
    sending = Sending(site, path)
    try:
        sending.await_more(50)
        node.kill()
        sending.await_more(50, kept=True)
        node.restart()
        sending.await_more(50)
    finally:
        sending.stop()
    tries = forward_all(site, path)
    found = arrived(site)
    assert list(dict.fromkeys(found)) == sending.ids
    # One that was on its way when the broker died, or did not confirm, may be there twice.
    assert len(found) - len(sending.ids) <= 1 + tries


def test_a_broker_that_takes_nothing_for_lack_of_memory_delays_one_task_only(
    own_site: Site, own_rabbit: RabbitNode, tmp_path: Path
) -> None:
    path = tmp_path / "box" / "outbox.sqlite3"
    with Client(own_site.fleet, {}, outbox=path) as client:
        first = client.send("shop.charge")
        own_rabbit.ctl("set_vm_memory_high_watermark", "0.00001")
        started = time.monotonic()
        kept = [client.send("shop.charge")]
        waited = time.monotonic() - started
        kept += [client.send("shop.charge") for _ in range(10)]
        assert time.monotonic() - started - waited < 5
        own_rabbit.ctl("set_vm_memory_high_watermark", "0.4")
        assert all(sent.in_outbox for sent in kept)
        assert waited < 20
        client.forward()
    found = arrived(own_site)
    assert list(dict.fromkeys(found)) == [first.id, *(sent.id for sent in kept)]
    assert len(found) - 12 <= 2
