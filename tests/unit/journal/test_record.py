import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.journal.record import LONGEST_MESSAGE, Outcome, UnreadableRecord, decode, encode

TEXTS = st.sampled_from(["", "alpha", "fleet.email", "ü", "a\nb", "x" * 40])
SECONDS = st.none() | st.floats(min_value=0, max_value=2e9)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    return Outcome(
        task_id=draw(TEXTS),
        task=draw(TEXTS),
        queue=draw(TEXTS),
        host=draw(TEXTS),
        worker=draw(TEXTS),
        outcome=draw(st.sampled_from(["succeeded", "failed", "retried"])),
        started=draw(SECONDS),
        finished=draw(st.floats(min_value=0, max_value=2e9)),
        runtime_seconds=draw(SECONDS),
        wait_seconds=draw(SECONDS),
        attempt=draw(st.integers(min_value=1, max_value=100)),
        error=draw(st.none() | TEXTS),
        message=draw(st.none() | TEXTS),
    )


SUCCESS = Outcome(
    task_id="1",
    task="fleet.backup",
    queue="fleet.backup.alpha",
    host="alpha",
    worker="backup-a@alpha",
    outcome="succeeded",
    started=10.0,
    finished=12.5,
    runtime_seconds=2.5,
    wait_seconds=0.1,
)


@given(outcome=outcomes())
def test_a_record_comes_back_as_it_was(outcome: Outcome) -> None:
    assert decode(encode(outcome)) == outcome


def test_what_is_not_known_takes_no_room() -> None:
    assert "error" not in json.loads(encode(SUCCESS))


def test_a_long_message_is_cut() -> None:
    long = SUCCESS._replace(outcome="failed", error="OSError", message="x" * 1000)
    assert decode(encode(long)).message == "x" * LONGEST_MESSAGE


def test_fields_of_a_newer_writer_are_left_alone() -> None:
    newer = json.loads(encode(SUCCESS)) | {"v": 2, "colour": "blue"}
    assert decode(json.dumps(newer)) == SUCCESS


@pytest.mark.parametrize("outcome", ["retried", "requeued", "lost"])
def test_a_task_that_runs_again_is_not_over(outcome: str) -> None:
    assert not SUCCESS._replace(outcome=outcome).is_final
    assert SUCCESS.is_final


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "not an object"),
        (b"{}", "not an object with a version"),
        (b'{"v":1}', "`task_id` is missing"),
        (encode(SUCCESS).replace(b'"finished":12.5', b'"finished":"now"'), "`finished` is no number"),
        (encode(SUCCESS).replace(b'"finished":12.5', b'"finished":null'), "`finished` is missing"),
        (encode(SUCCESS).replace(b'"task_id":"1"', b'"task_id":1'), "`task_id` is no text"),
        (encode(SUCCESS).replace(b'"finished":12.5', b'"finished":1e300'), "`finished` is out of range"),
        (encode(SUCCESS).replace(b'"finished":12.5', b'"finished":NaN'), "`finished` is out of range"),
        (encode(SUCCESS).replace(b'"attempt":1', b'"attempt":Infinity'), "`attempt` is out of range"),
        (encode(SUCCESS).replace(b'"attempt":1', b'"attempt":' + b"9" * 400), "`attempt` is out of range"),
    ],
)
def test_what_is_no_record_is_said_to_be_none(body: bytes, message: str) -> None:
    with pytest.raises(UnreadableRecord, match=message):
        decode(body)
