import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet.connection import Timeouts
from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PublishUncertain, UsageError
from fleet.model import Broker, Node, Tls
from fleet.publish import Publisher, TaskMessage, new_task_id
from fleet.secrets import Secret
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on


def mail(**fields: Any) -> TaskMessage:
    return replace(
        TaskMessage(
            task="fleet.send_mail", queue=EMAIL_QUEUE, task_id=new_task_id(), kwargs={"to": "a@example.org"}
        ),
        **fields,
    )


def with_broker(site: Site, **fields: Any) -> Site:
    broker: Broker = replace(site.fleet.broker, **fields)
    return replace(site, fleet=replace(site.fleet, broker=broker))


def publisher(site: Site, **options: Any) -> Publisher:
    return Publisher(site.fleet, site.password, **options)


def refusal(send: Callable[[], None]) -> FleetError:
    with pytest.raises(BrokerRefused) as caught:
        send()
    return caught.value


def test_a_sent_task_is_in_its_queue_when_send_returns(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    message = mail(key="order-7")
    with publisher(site) as open_publisher:
        open_publisher.send(message)
    (found,) = site.messages(EMAIL_QUEUE.name)
    assert found.properties["correlation_id"] == message.task_id
    assert found.headers["fleet_key"] == "order-7"
    assert json.loads(found.body)[1] == {"to": "a@example.org"}


def test_many_tasks_keep_their_order(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    messages = [mail() for _ in range(450)]
    with publisher(site) as open_publisher:
        open_publisher.deliver(messages)
    found = [message.properties["correlation_id"] for message in site.messages(EMAIL_QUEUE.name)]
    assert found == [message.task_id for message in messages]


def test_a_task_without_a_queue_is_refused_with_the_reason(site: Site) -> None:
    site.declare(replace(EMAIL_QUEUE, name="fleet.other"))
    with publisher(site) as open_publisher:
        error = refusal(lambda: open_publisher.send(mail()))
    assert "`fleet.email` is not bound" in error.message
    assert "312 NO_ROUTE" in error.message
    assert error.hint == "run `fleet provision broker`"


def test_of_many_tasks_each_one_is_told_apart(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    nowhere = replace(EMAIL_QUEUE, name="fleet.nowhere")
    with publisher(site) as open_publisher:
        refusals = open_publisher.deliver([mail(), mail(queue=nowhere), mail()])
    assert [refusal is None for refusal in refusals] == [True, False, True]
    assert len(site.messages(EMAIL_QUEUE.name)) == 2


def test_of_many_tasks_the_one_that_the_channel_was_closed_over_is_told_apart(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with publisher(site) as open_publisher:
        # The exchange in front of the broker's delays was not declared.
        first, delayed, last = open_publisher.deliver([mail(), mail(delay_seconds=60), mail()])
        open_publisher.send(mail())
    assert first is None
    assert isinstance(delayed, BrokerRefused)
    assert "NOT_FOUND - no exchange" in delayed.message
    assert isinstance(last, PublishUncertain)


def test_what_has_filled_its_queue_itself_is_not_told_as_refused_by_it(site: Site) -> None:
    site.declare(EMAIL_QUEUE, x_max_length=3, x_overflow="reject-publish")
    messages = [mail(), mail(), mail(), mail(delay_seconds=60)]
    with publisher(site) as open_publisher:
        # They are queued when the channel is closed over the last one, and written again after that.
        told = open_publisher.deliver(messages)
    there = {message.properties["correlation_id"] for message in site.messages(EMAIL_QUEUE.name)}
    assert there == {message.task_id for message in messages[:3]}
    assert all(error is None or isinstance(error, PublishUncertain) for error in told[:3])
    assert isinstance(told[3], BrokerRefused)


def test_one_unroutable_task_does_not_spoil_the_next(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with publisher(site) as open_publisher:
        refusal(lambda: open_publisher.send(mail(queue=replace(EMAIL_QUEUE, name="fleet.nowhere"))))
        open_publisher.send(mail())
    assert len(site.messages(EMAIL_QUEUE.name)) == 1


def test_a_full_queue_refuses_and_is_named(site: Site) -> None:
    site.declare(EMAIL_QUEUE, x_max_length=1, x_overflow="reject-publish")
    with publisher(site) as open_publisher:

        def fill() -> None:
            # A quorum queue notices some messages late that it is full.
            for _ in range(20):
                open_publisher.send(mail())

        error = refusal(fill)
    assert "queue `fleet.email` did not take task `fleet.send_mail`" in error.message
    assert "max_length" in str(error.hint)


def test_a_missing_exchange_is_refused_with_the_brokers_reason(site: Site) -> None:
    with publisher(site) as open_publisher:
        error = refusal(lambda: open_publisher.send(mail()))
    assert "NOT_FOUND - no exchange 'fleet.tasks'" in error.message


def test_a_wrong_password_is_refused_and_never_shown(site: Site) -> None:
    with Publisher(site.fleet, Secret("wrong-hunter2")) as open_publisher:
        error = refusal(lambda: open_publisher.send(mail()))
    assert "ACCESS_REFUSED" in error.message
    assert f"as user `{site.vhost.user}`" in error.message
    chain = f"{error!r}{error.__cause__!r}{vars(open_publisher)!r}"
    assert "hunter2" not in chain


def test_a_missing_vhost_is_refused_with_the_brokers_reason(site: Site) -> None:
    elsewhere = with_broker(site, vhost="nowhere")
    with publisher(elsewhere) as open_publisher:
        error = refusal(lambda: open_publisher.send(mail()))
    assert "vhost nowhere not found" in error.message


def test_a_user_without_the_right_to_write_is_refused(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    nothing = {"configure": "^$", "write": "^$", "read": ".*"}
    site.vhost.api("PUT", f"permissions/{site.vhost.name}/{site.vhost.user}", nothing)
    with publisher(site) as open_publisher:
        error = refusal(lambda: open_publisher.send(mail()))
    assert "access to exchange 'fleet.tasks'" in error.message


def test_an_unreachable_broker_is_said_with_every_nodes_reason(site: Site) -> None:
    (port,) = free_ports(1)
    nodes = (Node(host="127.0.0.1", port=port), Node(host="broker.invalid", port=5672))
    with (
        publisher(with_broker(site, nodes=nodes)) as open_publisher,
        pytest.raises(BrokerUnreachable) as caught,
    ):
        open_publisher.send(mail())
    assert not isinstance(caught.value, PublishUncertain)
    assert f"127.0.0.1:{port}: Connection refused" in caught.value.message
    assert "broker.invalid:5672: " in caught.value.message


def test_a_broker_that_accepts_and_says_nothing_is_given_up_in_time(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nodes = (Node(host="127.0.0.1", port=silent.getsockname()[1]),)
        started = time.monotonic()
        with (
            publisher(with_broker(site, nodes=nodes), timeouts=Timeouts(connect_seconds=0.5)) as sender,
            pytest.raises(BrokerUnreachable, match="no answer in time"),
        ):
            sender.send(mail())
    assert time.monotonic() - started < 5


def test_the_next_node_is_tried_when_one_is_down(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    (port,) = free_ports(1)
    nodes = (Node(host="127.0.0.1", port=port), *site.fleet.broker.nodes)
    with publisher(with_broker(site, nodes=nodes)) as open_publisher:
        open_publisher.send(mail())
    assert len(site.messages(EMAIL_QUEUE.name)) == 1


def test_a_connection_that_the_broker_closed_is_opened_again(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with publisher(site) as open_publisher:
        open_publisher.send(mail())
        site.vhost.node.ctl("close_all_connections", "--vhost", site.vhost.name, "test")
        open_publisher.send(mail())
    assert len(site.messages(EMAIL_QUEUE.name)) == 2


def test_a_missing_tls_file_is_named(site: Site) -> None:
    broken = with_broker(site, tls=Tls(ca="/nonexistent/ca.pem"))
    with publisher(broken) as open_publisher, pytest.raises(UsageError, match=r"/nonexistent/ca\.pem"):
        open_publisher.send(mail())


def test_an_alarm_on_the_broker_cannot_hang_the_sender(own_rabbit: RabbitNode, tmp_path: Any) -> None:
    site = site_on(BrokerVhost.create(own_rabbit, tmp_path))
    site.declare(EMAIL_QUEUE)
    with publisher(site, timeout_seconds=4.0) as open_publisher:
        open_publisher.send(mail())
        own_rabbit.ctl("set_vm_memory_high_watermark", "0")
        started = time.monotonic()
        with pytest.raises(PublishUncertain, match="memory or disk alarm"):
            open_publisher.send(mail())
        assert time.monotonic() - started < 10
        own_rabbit.ctl("set_vm_memory_high_watermark", "0.4")
        open_publisher.send(mail())
