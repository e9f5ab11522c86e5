"""Who consumes what, as the management API of a real broker shows it."""

import amqp
import pytest

from fleet.doctor.management import ManagementView
from fleet.doctor.unseen import Unseen
from fleet.ops.witness import Witness
from tests.broker import BrokerVhost

NODE, QUEUE = "mail-b@alpha", "fleet.email"
WANTED = {NODE: frozenset({QUEUE})}


def view(vhost: BrokerVhost, *, password: str | None = None) -> ManagementView:
    node = vhost.node
    known = node.admin_password.reveal()
    return ManagementView((node.management_url,), user=node.admin_user, password=password or known)


def connect(vhost: BrokerVhost, name: str) -> amqp.Connection:
    return amqp.Connection(
        host=vhost.address,
        userid=vhost.user,
        password=vhost.password,
        virtual_host=vhost.name,
        client_properties={"connection_name": name},
    )


def test_a_consumer_is_seen_by_the_name_of_its_connection_and_gone_when_that_is_closed(
    each_vhost: BrokerVhost,
) -> None:
    looks = view(each_vhost)
    assert looks.consumers(each_vhost.name) == frozenset()
    with connect(each_vhost, NODE) as connection, connect(each_vhost, "idle@beta") as idle:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.basic_consume(QUEUE, callback=lambda _: None)
        idle.channel()
        Witness(look=lambda: looks.consumers(each_vhost.name)).await_consumers("alpha", WANTED)
        assert looks.consumers(each_vhost.name) == {(NODE, QUEUE)}
    gone = Witness(look=lambda: frozenset({(NODE, QUEUE)}) - looks.consumers(each_vhost.name))
    gone.await_consumers("alpha", WANTED)


def test_a_queue_is_seen_at_once_and_gone_when_it_is_deleted(each_vhost: BrokerVhost) -> None:
    looks, name = view(each_vhost), f"{NODE}.celery.pidbox"
    with connect(each_vhost, NODE) as connection:
        channel = connection.channel()
        assert not looks.has_queue(each_vhost.name, name)
        channel.queue_declare(name, auto_delete=True)
        assert looks.has_queue(each_vhost.name, name)
        channel.queue_delete(name)
        assert not looks.has_queue(each_vhost.name, name)


def test_an_api_that_refuses_is_unseen(each_vhost: BrokerVhost) -> None:
    with pytest.raises(Unseen):
        view(each_vhost, password="wrong").consumers(each_vhost.name)
