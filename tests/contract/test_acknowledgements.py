"""What a real broker takes from acknowledgements that a worker's channel has gathered."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from amqp.exceptions import NotFound, RecoverableConnectionError

from fleet.worker.acks import GatheringChannel
from fleet.worker.wire import ForgivingConnection
from tests.broker import BrokerVhost
from tests.integration.worker.conftest import eventually

QUEUE = "fleet.acks"


@contextmanager
def consuming(vhost: BrokerVhost, messages: int) -> Iterator[tuple[ForgivingConnection, GatheringChannel]]:
    """Give a channel that gathers, once ``messages`` have been delivered to it."""
    connection = ForgivingConnection(
        host=vhost.address, userid=vhost.user, password=vhost.password, virtual_host=vhost.name
    )
    connection.connect()
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    channel.confirm_select()
    for _ in range(messages):
        channel.basic_publish_confirm(channel.prepare_message(b"{}"), routing_key=QUEUE)
    come: list[object] = []
    channel.basic_consume(QUEUE, callback=come.append)
    while len(come) < messages:
        connection.drain_events(timeout=10)
    channel.gather()
    try:
        yield connection, channel
    finally:
        connection.collect()


def messages(vhost: BrokerVhost) -> int:
    """Return how many messages the queue holds, unacknowledged ones included."""
    listed = vhost.node.ctl(
        "--quiet", "list_queues", "--vhost", vhost.name, "--formatter", "json", "messages"
    )
    return int(json.loads(listed)[0]["messages"])


@pytest.mark.parametrize("closed", ["channel", "connection"])
def test_what_was_kept_is_told_when_the_channel_or_the_connection_is_closed(
    each_vhost: BrokerVhost, closed: str
) -> None:
    with consuming(each_vhost, 4) as (connection, channel):
        for tag in (1, 2, 4):
            channel.basic_ack(tag)
        (channel if closed == "channel" else connection).close()
        eventually(lambda: messages(each_vhost) == 1, what="three of four are acknowledged")


def test_what_was_kept_cannot_be_told_when_the_connection_is_gone(each_vhost: BrokerVhost) -> None:
    with consuming(each_vhost, 1) as (connection, channel):
        channel.basic_ack(1)
        connection.collect()
        with pytest.raises(RecoverableConnectionError):
            channel.tell()


def test_nothing_is_told_of_deliveries_whose_channel_the_broker_has_closed(each_vhost: BrokerVhost) -> None:
    with consuming(each_vhost, 1) as (_, channel):
        channel.basic_ack(1)
        with pytest.raises(NotFound):
            channel.queue_declare("fleet.none", passive=True)
        channel.tell()
        channel.basic_qos(0, 1, a_global=False)


def test_one_acknowledgement_stands_for_all_that_ended_before_the_first_that_is_open(
    each_vhost: BrokerVhost,
) -> None:
    with consuming(each_vhost, 6) as (connection, channel):
        frames = connection.bytes_sent
        writes: list[bytes] = []
        write = connection.transport.write

        def noted(piece: bytes) -> None:
            writes.append(piece)
            write(piece)

        connection.transport.write = noted
        for tag in (3, 1, 2, 5):
            channel.basic_ack(tag)
        assert connection.bytes_sent == frames
        channel.tell()
        assert connection.bytes_sent - frames == 2
        assert len(writes) == 1
        eventually(lambda: messages(each_vhost) == 2, what="four of six are acknowledged")
