import struct
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import pytest
from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame
from hypothesis import given
from hypothesis import strategies as st

from fleet.worker.wire import ForgivingConnection, Frame, ReadAhead, Reading

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2, 3, 8]), st.integers(0, 65535), st.binary(max_size=40)))


class Socket(ReadAhead):
    """A transport whose socket has ``chunks`` to give, one at each wake-up, and then an end or nothing."""

    sock = None
    connected = True

    def __init__(self, chunks: list[bytes], *, ends: bool = False) -> None:
        self._read_buffer = b""
        self._chunks = iter([*chunks, b""] if ends else chunks)

    def having_timeout(self, seconds: float) -> AbstractContextManager[None]:
        assert seconds == 0
        return nullcontext()

    def _quick_recv(self, size: int) -> bytes:
        del size
        for chunk in self._chunks:
            return chunk
        raise TimeoutError


def written(frames: list[Frame]) -> bytes:
    return b"".join(
        struct.pack(">BHI", kind, channel, len(body)) + body + b"\xce" for kind, channel, body in frames
    )


def connection_over(transport: Socket) -> tuple[ForgivingConnection, list[Frame]]:
    connection = ForgivingConnection()
    seen: list[Frame] = []
    connection._transport = transport
    connection.on_inbound_frame = seen.append
    return connection, seen


@st.composite
def split(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=8)))
    edges = [0, *(cut for cut in cuts if cut < len(whole)), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges) if start < end]


@given(data=st.data(), frames=FRAMES)
def test_frames_come_out_as_they_were_written_however_the_network_cuts_them(
    data: st.DataObject, frames: list[Frame]
) -> None:
    chunks = data.draw(split(written(frames)))
    connection, seen = connection_over(Socket(chunks))
    for _ in chunks:
        connection.handle_input()
    assert seen == frames


def test_half_a_frame_waits_for_its_end() -> None:
    whole = written([(1, 1, b"method")])
    connection, seen = connection_over(Socket([whole[:9], whole[9:]]))
    connection.handle_input()
    assert not seen
    connection.handle_input()
    assert seen == [(1, 1, b"method")]


def test_what_came_before_the_end_of_a_connection_is_handled_before_it_is_given_up() -> None:
    connection, seen = connection_over(Socket([written([(1, 0, b"close")])], ends=True))
    connection.handle_input()
    assert seen == [(1, 0, b"close")]
    with pytest.raises(OSError, match="closed the connection"):
        connection.handle_input()
    assert not connection.connected


def test_nothing_is_handled_any_more_on_a_connection_that_a_frame_has_closed() -> None:
    connection, _ = connection_over(Socket([written([(1, 0, b"close"), (1, 1, b"late")])]))
    seen: list[Frame] = []

    def close(frame: Frame) -> None:
        seen.append(frame)
        connection._transport.connected = False

    connection.on_inbound_frame = close
    connection.handle_input()
    assert seen == [(1, 0, b"close")]


def test_a_frame_without_its_end_mark_is_an_error() -> None:
    connection, _ = connection_over(Socket([written([(1, 1, b"method")])[:-1] + b"\x00"]))
    with pytest.raises(UnexpectedFrame):
        connection.handle_input()


def test_a_closed_connection_says_so_to_the_event_loop() -> None:
    connection, _ = connection_over(Socket([]))
    connection._transport.connected = False
    with pytest.raises(RecoverableConnectionError):
        Reading().on_readable(connection, loop=None)
