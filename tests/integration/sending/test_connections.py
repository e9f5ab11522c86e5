"""What happens between sender and broker: connections that are cut, and TLS that is verified."""

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import BrokerUnreachable, PublishUncertain
from fleet.model import Node, Tls
from fleet.publish import Publisher, TaskMessage, new_task_id
from tests.certificates import Authority
from tests.integration.sending.proxy import Proxy
from tests.integration.sending.topology import EMAIL_QUEUE, Site


def through(site: Site, port: int, *, host: str = "127.0.0.1", tls: Tls | None = None) -> Site:
    """Return the site as it is seen through a proxy."""
    broker = replace(site.fleet.broker, nodes=(Node(host=host, port=port, tls=tls is not None),), tls=tls)
    return replace(site, fleet=replace(site.fleet, broker=broker))


def speaking_tls(authority: Authority, name: str) -> ssl.SSLContext:
    """Return the TLS side of a server whose certificate carries ``name``."""
    issued = authority.issue(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    return context


def send(site: Site) -> str:
    message = TaskMessage(task="fleet.send_mail", queue=EMAIL_QUEUE, task_id=new_task_id())
    with Publisher(site.fleet, site.password) as publisher:
        publisher.send(message)
    return message.task_id


def test_a_task_whose_confirm_was_lost_is_sent_again_under_the_same_id(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    cuts: list[bytes] = []

    def cut_once(sent: bytes) -> bool:
        if b"fleet_sent" in sent and not cuts:
            cuts.append(sent)
            return True
        return False

    with Proxy(site.vhost.node.port, cut=cut_once) as proxy:
        task_id = send(through(site, proxy.port))
    found = [message.headers["id"] for message in site.messages(EMAIL_QUEUE.name)]
    assert cuts
    assert found == [task_id, task_id]


def test_a_task_whose_confirm_never_comes_is_uncertain(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with (
        Proxy(site.vhost.node.port, cut=lambda sent: b"fleet_sent" in sent) as proxy,
        pytest.raises(PublishUncertain, match="before the broker's confirm came") as caught,
    ):
        send(through(site, proxy.port))
    assert "same key or id" in str(caught.value.hint)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_each_get_their_own_confirms(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    messages = [TaskMessage(task="fleet.send_mail", queue=EMAIL_QUEUE, task_id=str(n)) for n in range(4)]
    with Publisher(site.fleet, site.password, timeout_seconds=4.0) as publisher:
        publisher.send(messages[0])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                publisher.send(messages[1])
                publisher.send(messages[2])
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        publisher.send(messages[3])
    assert os.waitstatus_to_exitcode(status) == 0
    assert [message.headers["id"] for message in site.messages(EMAIL_QUEUE.name)] == ["0", "1", "2", "3"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_that_closes_its_publisher_leaves_the_parents_connection_open(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with Proxy(site.vhost.node.port) as proxy:
        with Publisher(through(site, proxy.port).fleet, site.password) as publisher:
            publisher.open()
            child = os.fork()
            if child == 0:
                try:
                    publisher.close()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            publisher.send(TaskMessage(task="fleet.send_mail", queue=EMAIL_QUEUE, task_id="1"))
        assert proxy.accepted == 1


def test_a_broker_with_a_trusted_certificate_is_used(site: Site, tmp_path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    authority = Authority.create(tmp_path)
    with Proxy(site.vhost.node.port, tls=speaking_tls(authority, "127.0.0.1")) as proxy:
        send(through(site, proxy.port, tls=Tls(ca=str(authority.cert))))
    assert len(site.messages(EMAIL_QUEUE.name)) == 1


def test_very_many_tasks_go_through_tls(site: Site, tmp_path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    authority = Authority.create(tmp_path)
    messages = (
        TaskMessage(task="fleet.send_mail", queue=EMAIL_QUEUE, task_id=new_task_id()) for _ in range(2500)
    )
    with Proxy(site.vhost.node.port, tls=speaking_tls(authority, "127.0.0.1")) as proxy:
        secured = through(site, proxy.port, tls=Tls(ca=str(authority.cert)))
        with Publisher(secured.fleet, secured.password) as publisher:
            assert all(fate.accepted and fate.writes == 1 for _, fate in publisher.stream(messages))
        assert proxy.accepted == 1
    assert len(site.messages(EMAIL_QUEUE.name)) == 2500


def test_a_certificate_of_an_unknown_authority_is_not_trusted(site: Site, tmp_path: Path) -> None:
    known, unknown = Authority.create(tmp_path, "known"), Authority.create(tmp_path, "unknown")
    with (
        Proxy(site.vhost.node.port, tls=speaking_tls(unknown, "127.0.0.1")) as proxy,
        pytest.raises(BrokerUnreachable, match="its certificate is not trusted"),
    ):
        send(through(site, proxy.port, tls=Tls(ca=str(known.cert))))


def test_a_certificate_for_another_name_is_not_trusted(site: Site, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with (
        Proxy(site.vhost.node.port, tls=speaking_tls(authority, "192.0.2.7")) as proxy,
        pytest.raises(BrokerUnreachable, match=r"certificate is not valid for '127\.0\.0\.1'"),
    ):
        send(through(site, proxy.port, tls=Tls(ca=str(authority.cert))))


def test_a_broker_without_tls_is_not_spoken_to_in_the_clear(site: Site, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    seen: list[bytes] = []

    def look(sent: bytes) -> bool:
        seen.append(sent)
        return False

    with Proxy(site.vhost.node.port, cut=look) as proxy, pytest.raises(BrokerUnreachable):
        send(through(site, proxy.port, tls=Tls(ca=str(authority.cert))))
    assert site.vhost.password.encode() not in b"".join(seen)
