"""What ``fleet/publish`` takes for granted about py-amqp beyond its documentation.

Each test names an assumption; one that fails after an upgrade says where to look.
"""

import inspect
import io
import socket
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp import spec
from amqp.abstract_channel import AbstractChannel
from amqp.channel import Channel
from amqp.connection import Connection
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from amqp.transport import DEFAULT_SOCKET_SETTINGS, _AbstractTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.connection import tcp_settings
from fleet.publish.encoding import Encoder
from fleet.publish.message import WireMessage
from fleet.publish.stream import SILENCE_SECONDS
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on

FRAME_MAX = 4096
SHORT = st.text(max_size=40)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), SHORT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(SHORT, inner, max_size=3)),
    max_leaves=6,
)
HEADERS = st.dictionaries(SHORT, VALUES, max_size=6)
PROPERTIES = st.fixed_dictionaries(
    {"correlation_id": SHORT},
    optional={
        "content_type": SHORT,
        "content_encoding": SHORT,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 9),
        "reply_to": SHORT,
        "expiration": SHORT,
        "message_id": SHORT,
        "timestamp": st.integers(0, 2**40),
        "type": SHORT,
        "app_id": SHORT,
    },
)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def connection_with(frame_max: int = FRAME_MAX) -> Any:
    return SimpleNamespace(frame_max=frame_max, bytes_sent=0)


def our_bytes(message: WireMessage) -> bytes:
    return Encoder().encode(message).frames(7, FRAME_MAX)


def their_bytes(message: WireMessage, headers: Mapping[str, object]) -> bytes:
    """Return what ``basic_publish`` of py-amqp writes for the same message."""
    written = io.BytesIO()
    connection = connection_with()
    connection.frame_writer = frame_writer(connection, written)
    channel = SimpleNamespace(connection=connection, channel_id=7)
    content = amqp.Message(message.body, application_headers=headers, **dict(message.properties))
    arguments = (0, message.exchange, message.routing_key, True, False)
    AbstractChannel.send_method(channel, spec.Basic.Publish, "Bssbb", arguments, content)
    return written.getvalue()


@given(common=HEADERS, own=HEADERS, properties=PROPERTIES, body=st.binary(max_size=3 * FRAME_MAX), key=SHORT)
@settings(max_examples=150, deadline=None)
def test_what_we_encode_is_byte_for_byte_what_py_amqp_writes(
    common: dict[str, object],
    own: dict[str, object],
    properties: dict[str, object],
    body: bytes,
    key: str,
) -> None:
    own = {name: value for name, value in own.items() if name not in common}
    message = WireMessage(
        exchange="fleet.tasks", routing_key=key, body=body, headers=own, common=common, properties=properties
    )
    assert our_bytes(message) == their_bytes(message, {**common, **own})


def test_basic_publish_writes_the_arguments_that_we_encode() -> None:
    source = inspect.getsource(Channel._basic_publish)
    assert "spec.Basic.Publish, argsig," in source
    assert "(0, exchange, routing_key, mandatory, immediate), msg" in source
    assert inspect.signature(Channel._basic_publish).parameters["argsig"].default == "Bssbb"


@pytest.mark.parametrize(
    "message",
    [
        {"routing_key": "k" * 256},
        {"headers": {"h" * 256: 1}},
        {"headers": {"h": object()}},
        {"properties": {"correlation_id": "c" * 256}},
        {"properties": {"correlation_id": "", "priority": 256}},
    ],
)
def test_what_amqp_cannot_carry_is_found_before_anything_is_written(message: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "exchange": "x", "routing_key": "k", "body": b"", "headers": {}, "properties": {"correlation_id": ""}
    }  # fmt: skip
    with pytest.raises(Exception, match=r"."):
        Encoder().encode(WireMessage(**(fields | message)))


def test_a_table_is_its_length_and_its_pairs() -> None:
    first, second = {"a": 1}, {"b": "two"}
    joined = dumps("F", (first,))[4:] + dumps("F", (second,))[4:]
    assert dumps("F", (first | second,))[4:] == joined


def test_one_frame_is_read_at_a_time_heartbeats_included() -> None:
    assert parameters(Connection.blocking_read) == ["self", "timeout"]
    # drain_events would wait anew after each heartbeat.
    assert "while not self.blocking_read(timeout)" in inspect.getsource(Connection.drain_events)


def test_half_a_frame_is_kept_for_the_next_read() -> None:
    source = inspect.getsource(_AbstractTransport.read_frame)
    assert "self._read_buffer = read_frame_buffer + self._read_buffer" in source


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    made = site_on(vhost)
    made.declare(EMAIL_QUEUE)
    return made


def test_a_connection_that_ended_says_so(site: Site) -> None:
    connection = site.connection()
    assert connection.connected
    assert isinstance(connection.sock, socket.socket)
    connection.collect()
    assert not connection.connected


def test_confirms_and_returns_reach_the_listeners_of_a_channels_events(site: Site) -> None:
    seen: list[tuple[object, ...]] = []
    with site.connection() as connection:
        channel = connection.channel()
        channel.confirm_select()
        for name in ("basic_ack", "basic_return"):
            channel.events[name].add(lambda *values: seen.append(values))
        channel.basic_publish(
            amqp.Message(b"", correlation_id="c"), exchange="fleet.tasks", routing_key="no", mandatory=True
        )
        while len(seen) < 2:
            connection.blocking_read(5)
    (error, exchange, routing_key, message), (tag, multiple) = seen
    assert (error.reply_code, exchange, routing_key) == (312, "fleet.tasks", "no")  # type: ignore[attr-defined]
    assert message.properties["correlation_id"] == "c"  # type: ignore[attr-defined]
    assert (tag, multiple) == (1, False)


def test_a_queue_that_is_missing_closes_only_the_channel_that_asked(site: Site) -> None:
    with site.connection() as connection:
        publishing, asking = connection.channel(), connection.channel()
        with pytest.raises(amqp.NotFound) as caught:
            asking.queue_declare("nowhere", passive=True)
        assert caught.value.method_sig == spec.Queue.Declare
        asking.close()
        assert publishing.queue_declare(EMAIL_QUEUE.name, passive=True).queue == EMAIL_QUEUE.name


@pytest.mark.parametrize(
    ("options", "expected_ms"), [({}, 1000), ({"socket_settings": tcp_settings(7.0)}, 7000)]
)
def test_the_kernel_ends_a_connection_that_was_cut_for_a_second_unless_told_otherwise(
    options: dict[str, Any], expected_ms: int, vhost: BrokerVhost
) -> None:
    assert DEFAULT_SOCKET_SETTINGS["TCP_USER_TIMEOUT"] == 1000
    connection = amqp.Connection(
        host=f"127.0.0.1:{vhost.node.port}",
        userid=vhost.user,
        password=vhost.password,
        virtual_host=vhost.name,
        **options,
    )
    connection.connect()
    try:
        option = connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert option == expected_ms
    finally:
        connection.close()


def test_a_broker_that_has_nothing_to_say_sends_heartbeats(vhost: BrokerVhost) -> None:
    connection = amqp.Connection(
        host=f"127.0.0.1:{vhost.node.port}",
        userid=vhost.user,
        password=vhost.password,
        virtual_host=vhost.name,
        heartbeat=10,
    )
    connection.connect()
    try:
        assert connection.blocking_read(SILENCE_SECONDS) is False
    finally:
        connection.close()
