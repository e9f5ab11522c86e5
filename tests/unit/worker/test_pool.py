import pickle
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.worker.pool import split, tell_each

messages = st.lists(st.tuples(st.integers(), st.binary(max_size=50)), max_size=5)


def said(messages: list[tuple[int, bytes]]) -> bytes:
    """Return what a child writes into its pipe."""
    bodies = [pickle.dumps(message) for message in messages]
    return b"".join(pack(">i", len(body)) + body for body in bodies)


@given(messages=messages, at=st.integers(0, 400))
def test_what_a_child_has_said_is_split_into_messages_wherever_it_is_cut(
    messages: list[tuple[int, bytes]], at: int
) -> None:
    whole = said(messages)
    said_so_far = bytearray(whole[:at])
    first = split(said_so_far)
    said_so_far += whole[at:]
    assert [pickle.loads(each) for each in (*first, *split(said_so_far))] == messages
    assert not said_so_far


def test_an_error_at_one_message_keeps_none_of_the_others_from_being_told() -> None:
    told: list[int] = []

    def tell(message: int) -> None:
        told.append(message)
        if message == 2:
            raise OSError("no connection")

    packed = [pickle.dumps(1), pickle.dumps(2), b"no pickle", pickle.dumps(None), pickle.dumps(3)]
    with pytest.raises(OSError, match="no connection"):
        tell_each(tell, packed)
    assert told == [1, 2, 3]
