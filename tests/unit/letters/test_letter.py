from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.letters.letter import Letter, read_letter
from tests.unit.letters.samples import DEAD, death, letter, refused, rejected

DELAY = "0." * 27 + "1."


def test_a_letter_of_the_broker_says_when_whence_and_why_by_its_newest_note() -> None:
    found = rejected(death(), death("celery_delayed_0", "expired"), death("celery_delayed_1", "expired"))
    assert (found.reason, found.origin, found.died) == ("rejected", "fleet.email", 1_767_225_600.0)
    assert [note.queue for note in found.deaths] == ["fleet.email", "celery_delayed_0", "celery_delayed_1"]


def test_a_letter_of_a_worker_says_who_refused_it_and_why() -> None:
    found = refused()
    assert (found.reason, found.detail, found.origin) == ("not_allowed", "no", "fleet.email")
    assert (found.refused_host, found.died, found.deaths) == ("alpha", 100.0, ())


def test_a_senders_notes_of_a_refusal_are_not_believed_where_the_broker_has_its_own() -> None:
    found = rejected(fleet_refused_reason="x", fleet_refused_queue="fleet.backup.alpha", fleet_refused_time=1)
    assert (found.reason, found.origin) == ("rejected", "fleet.email")


def test_the_key_of_a_delayed_message_is_its_queues() -> None:
    assert rejected(death(keys=[f"{DELAY}fleet.email"])).routing_key == "fleet.email"


def test_a_letter_that_says_nothing_is_one_all_the_same() -> None:
    found = read_letter(dead_letter_queue=DEAD, headers={}, properties={}, body=b"\xff")
    assert (found.reason, found.origin, found.died, found.is_task) == ("unknown", None, None, False)


def test_what_a_sender_cannot_have_meant_counts_for_nothing() -> None:
    found = letter({"fleet_replays": -5, "retries": True, "fleet_first": "soon", "id": "line\nbreak"})
    assert (found.replays, found.retries, found.first_sent, found.task_id) == (0, 0, None, None)


@pytest.mark.parametrize("impossible", [1e300, -1e300, -1, 10**400, float("nan"), float("inf")])
def test_a_time_that_no_calendar_holds_is_not_known(impossible: float) -> None:
    found = refused(fleet_refused_time=impossible, fleet_first=impossible, fleet_replayed_time=impossible)
    assert (found.died, found.first_sent, found.replayed) == (None, None, None)


def test_a_death_at_the_end_of_all_calendars_has_no_known_time() -> None:
    found = rejected(death() | {"time": datetime(9999, 12, 31, 23, 59)})  # noqa: DTZ001 - as py-amqp reads it
    assert (found.died, found.deaths[0].time) == (None, None)


def test_neither_arguments_nor_headers_show_in_what_a_traceback_would_print() -> None:
    found = letter({"secret": "hunter2"}, body=b'[["hunter2"], {}, {}]', app_id="hunter2")
    assert "hunter2" not in repr(found)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["id", "task", "retries", "x-death", "fleet_replays", "fleet_replayed_time", "expires", "fleet_key"]
    + [f"fleet_refused_{part}" for part in ("reason", "detail", "queue", "routing_key", "time", "host")]
)
DEATHS = st.lists(
    st.dictionaries(st.sampled_from(["queue", "reason", "count", "time", "routing-keys"]), VALUES), max_size=3
)


@given(st.dictionaries(NAMES, VALUES), st.none() | DEATHS)
def test_no_headers_make_reading_fail(headers: dict[str, Any], deaths: list[Any] | None) -> None:
    noted = headers if deaths is None else headers | {"x-death": deaths}
    assert isinstance(read_letter(dead_letter_queue=DEAD, headers=noted, properties={}, body=b""), Letter)
