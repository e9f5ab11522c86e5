import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Queue
from fleet.publish.message import VERSION
from fleet.worker.gate import Admit, Gate, Postpone, Reason, Refuse, Verdict
from fleet.worker.message import OVERRIDING_HEADERS, Delivery

NOW = 1_800_000_000.0
KNOWN = frozenset(
    {"fleet.send_mail", "fleet.backup", "shop.invoice", "shop.count", "celery.map", "celery.starmap"}
)
QUEUES = {
    "fleet.email": Queue(name="email", tasks=("fleet.send_mail",)),
    "fleet.shop": Queue(name="shop", tasks=("shop.*",), allow_callbacks=True),
}
GATE = Gate(queues=QUEUES, known_tasks=KNOWN, native=True)
DELAY = "0." * 27 + "1."


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


def headers(**changes: object) -> dict[str, object]:
    return {
        "lang": "py",
        "task": "fleet.send_mail",
        "id": "1",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "1",
        "stamps": {},
        "stamped_headers": None,
        "fleet_sent": NOW,
    } | changes


def delivery(
    *,
    queue: str | None = "fleet.email",
    routing_key: str | None = None,
    headers: Mapping[str, Any] = headers(),
    body: object = ([], {}, {}),
    raw: bytes | None = None,
    content_type: str | None = "application/json",
    content_encoding: str | None = "utf-8",
    compressed: bool = False,
    unreadable: bool = False,
) -> Delivery:
    text = json.dumps(body).encode() if raw is None else raw
    return Delivery(
        queue=queue,
        routing_key=queue or "" if routing_key is None else routing_key,
        headers=headers,
        content_type=content_type,
        content_encoding=content_encoding,
        compressed=compressed,
        unreadable=unreadable,
        decode=lambda: json.loads(text),
    )


def judge(message: Delivery) -> Verdict:
    return GATE.judge(message, now=NOW)


def reason(message: Delivery) -> Reason | None:
    verdict = judge(message)
    return verdict.reason if isinstance(verdict, Refuse) else None


def test_a_task_that_its_queue_allows_is_let_in() -> None:
    assert judge(delivery()) == Admit()


def test_a_message_that_the_broker_has_delayed_is_let_in() -> None:
    assert judge(delivery(routing_key=f"{DELAY}fleet.email")) == Admit()


@pytest.mark.parametrize(
    ("task", "refused"),
    [
        ("fleet.backup", Reason.NOT_ALLOWED),
        ("shop.invoice", Reason.NOT_ALLOWED),
        ("celery.starmap", Reason.BUILT_IN),
        ("celery.map", Reason.BUILT_IN),
        ("celery.chunks", Reason.BUILT_IN),
        ("celery.group", Reason.BUILT_IN),
        ("celery.chain", Reason.BUILT_IN),
        ("celery.chord", Reason.BUILT_IN),
        ("celery.accumulate", Reason.BUILT_IN),
        ("celery.chord_unlock", Reason.BUILT_IN),
        ("celery.backend_cleanup", Reason.BUILT_IN),
        ("FLEET.SEND_MAIL", Reason.NOT_ALLOWED),
        ("fleet.send_mail\n", Reason.MALFORMED),
        ("", Reason.MALFORMED),
        (["fleet.send_mail"], Reason.MALFORMED),
        (7, Reason.MALFORMED),
    ],
)
def test_any_other_task_is_refused(task: object, refused: Reason) -> None:
    assert reason(delivery(headers=headers(task=task))) == refused


def test_an_allowed_task_without_code_is_unknown() -> None:
    message = delivery(queue="fleet.shop", headers=headers(task="shop.refund"))
    assert reason(message) == Reason.UNKNOWN_TASK


def test_a_message_from_a_queue_that_is_not_the_workers_is_refused() -> None:
    assert reason(delivery(queue="fleet.backup.alpha")) == Reason.UNKNOWN_QUEUE
    assert reason(delivery(queue=None)) == Reason.UNKNOWN_QUEUE


@pytest.mark.parametrize(
    "key", ["fleet.shop", f"{DELAY}fleet.shop", "x.fleet.email", f"{DELAY}{DELAY}fleet.email", ""]
)
def test_a_message_that_came_by_a_foreign_routing_key_is_refused(key: str) -> None:
    assert reason(delivery(routing_key=key)) == Reason.FOREIGN_KEY


SIGNATURE = {"task": "fleet.backup", "args": [], "kwargs": {}, "options": {}}


@pytest.mark.parametrize(
    "embed",
    [
        {"callbacks": [SIGNATURE]},
        {"errbacks": [SIGNATURE]},
        {"chain": [SIGNATURE]},
        {"chord": SIGNATURE},
    ],
    ids=lambda embed: next(iter(embed)),
)
def test_whatever_would_run_beside_or_after_the_task_is_refused(embed: dict[str, object]) -> None:
    assert reason(delivery(body=[[], {}, embed])) == Reason.CALLBACKS


@pytest.mark.parametrize(
    "change",
    [{"group": "g"}, {"stamps": {"queue": "fleet.backup"}}, {"stamped_headers": ["queue"]}],
    ids=lambda change: next(iter(change)),
)
def test_groups_and_stamps_are_refused(change: dict[str, object]) -> None:
    assert reason(delivery(headers=headers(**change))) == Reason.CALLBACKS


def test_empty_callbacks_are_none() -> None:
    embed: dict[str, object] = {"callbacks": None, "errbacks": [], "chain": None, "chord": None}
    assert judge(delivery(body=[[], {}, embed])) == Admit()


@pytest.mark.parametrize("name", [*sorted(OVERRIDING_HEADERS), "_children", "fleet_queue"])
def test_a_header_that_would_override_what_the_worker_knows_is_refused(name: str) -> None:
    assert reason(delivery(headers=headers(**{name: None}))) == Reason.OVERRIDING


def test_a_body_key_that_would_override_what_the_worker_knows_is_refused() -> None:
    assert reason(delivery(body=[[], {}, {"delivery_info": {}}])) == Reason.OVERRIDING


def test_a_task_may_not_go_by_another_name() -> None:
    assert reason(delivery(headers=headers(shadow="fleet.backup"))) == Reason.OVERRIDING


def test_headers_of_other_programs_are_none_of_our_business() -> None:
    other = {"traceparent": "00-1", "headers": {"sentry-trace": "x"}, "x-delivery-count": 1}
    assert judge(delivery(headers=headers(**other))) == Admit()


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": None},
        {"id": ["1"]},
        {"id": "x" * 256},
        {"id": "ü" * 128},
        {"id": "\ud800"},
        {"id": "a\nevent=forged"},
        {"retries": -1},
        {"retries": True},
        {"retries": 10**9},
        {"retries": "0"},
        {"timelimit": [-1, None]},
        {"timelimit": ["x", None]},
        {"timelimit": [float("nan"), None]},
        {"timelimit": 5},
        {"eta": 5},
        {"eta": "tomorrow"},
        {"expires": "9999-99"},
        {"root_id": 5},
        {"headers": "x"},
        {"fleet_version": "2"},
        {b"\xff": 1},
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(change: dict[Any, object]) -> None:
    assert reason(delivery(headers={**headers(), **change})) == Reason.MALFORMED


@pytest.mark.parametrize(
    "body", [{}, [], [[], {}], [[], {}, {}, {}], [{}, [], {}], [[], [], {}], [[], {}, []], "x", None, 5]
)
def test_a_body_of_another_shape_is_refused(body: object) -> None:
    assert reason(delivery(body=body)) == Reason.MALFORMED


def test_a_message_of_the_old_protocol_is_refused() -> None:
    message = delivery(headers={}, body={"task": "fleet.send_mail", "id": "1", "args": [], "kwargs": {}})
    assert reason(message) == Reason.PROTOCOL


def test_a_message_of_a_newer_release_is_refused_and_one_of_this_or_no_release_runs() -> None:
    assert reason(delivery(headers=headers(fleet_version=VERSION + 1))) == Reason.NEWER
    for known in ({}, {"fleet_version": VERSION}, {"fleet_version": None}):
        assert judge(delivery(headers=headers() | known)) == Admit()


@pytest.mark.parametrize(
    ("content_type", "content_encoding"),
    [
        ("application/x-python-serialize", "binary"),
        ("application/json", "binary"),
        ("application/data", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_anything_but_json_is_refused(content_type: str | None, content_encoding: str) -> None:
    message = delivery(content_type=content_type, content_encoding=content_encoding)
    assert reason(message) == Reason.CONTENT_TYPE


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"{", b"[" * 100_000])
def test_a_body_that_cannot_be_decoded_is_refused(raw: bytes) -> None:
    assert reason(delivery(raw=raw)) == Reason.UNDECODABLE


def test_a_compressed_message_is_refused_unpacked() -> None:
    assert reason(delivery(compressed=True)) == Reason.COMPRESSED


def test_a_message_whose_properties_could_not_be_read_is_refused() -> None:
    assert reason(delivery(headers={}, unreadable=True)) == Reason.UNREADABLE


def test_an_expired_message_is_refused_instead_of_dropped() -> None:
    assert reason(delivery(headers=headers(expires=at(-1)))) == Reason.EXPIRED
    assert judge(delivery(headers=headers(expires=at(1)))) == Admit()


def test_a_near_eta_is_waited_for_here() -> None:
    assert judge(delivery(headers=headers(eta=at(9)))) == Admit()


def test_a_far_eta_is_waited_for_by_the_broker() -> None:
    assert judge(delivery(headers=headers(eta=at(3600)))) == Postpone(delay_seconds=3600)


def test_an_eta_without_a_time_zone_is_in_utc() -> None:
    naive = at(3600).removesuffix("+00:00")
    assert judge(delivery(headers=headers(eta=naive))) == Postpone(delay_seconds=3600)


def test_an_eta_beyond_what_the_broker_can_delay_is_refused() -> None:
    assert reason(delivery(headers=headers(eta=at(2**28 + 100)))) == Reason.ETA


def test_without_native_delays_the_worker_waits_itself_and_keys_mean_nothing() -> None:
    gate = Gate(queues=QUEUES, known_tasks=KNOWN, native=False)
    assert gate.judge(delivery(headers=headers(eta=at(3600)), routing_key="x"), now=NOW) == Admit()


def shop(body: object, **changes: object) -> Delivery:
    return delivery(queue="fleet.shop", headers=headers(**({"task": "shop.invoice"} | changes)), body=body)


@pytest.mark.parametrize(
    "embed",
    [
        {"callbacks": [SIGNATURE]},
        {"chain": [SIGNATURE]},
        {"errbacks": [{"task": "shop.count"}]},
        {"chord": {"task": "shop.count", "options": {"link_error": [{"task": "shop.count"}]}}},
    ],
)
def test_a_queue_that_allows_callbacks_lets_them_in(embed: dict[str, object]) -> None:
    assert judge(shop([[], {}, embed])) == Admit()


@pytest.mark.parametrize(
    "embed",
    [
        {"errbacks": [SIGNATURE]},
        {"errbacks": [5]},
        {"errbacks": [{}]},
        {"errbacks": SIGNATURE},
        {"chord": {"task": "shop.count", "options": {"link_error": [SIGNATURE]}}},
        {"callbacks": [{"task": "shop.count", "options": {"link_error": SIGNATURE}}]},
    ],
)
def test_what_celery_would_call_in_place_must_be_in_the_table_even_there(embed: dict[str, object]) -> None:
    assert reason(shop([[], {}, embed])) in {Reason.NOT_ALLOWED, Reason.MALFORMED}


@pytest.mark.parametrize(
    ("inner", "refused"),
    [
        ({"task": "shop.count"}, None),
        ("shop.count", None),
        ({"task": "fleet.backup"}, Reason.NOT_ALLOWED),
        ({"task": "celery.starmap"}, Reason.NOT_ALLOWED),
        (None, Reason.MALFORMED),
    ],
)
def test_a_map_may_wrap_only_what_the_table_allows(inner: object, refused: Reason | None) -> None:
    assert reason(shop([[], {"task": inner, "it": [1]}, {}], task="celery.map")) == refused
    assert reason(shop([[inner, [1]], {}, {}], task="celery.starmap")) == refused


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["task", "id", "eta", "expires", "retries", "timelimit", "group", "stamps", "headers", "CC"]
)
callback_keys = st.sampled_from(["callbacks", "errbacks", "chain", "chord", "retries"])


@given(
    changes=st.dictionaries(names | st.text(max_size=8), anything, max_size=4),
    payload=anything | st.tuples(anything, anything, st.dictionaries(callback_keys, anything, max_size=2)),
    queue=st.sampled_from(["fleet.email", "fleet.shop"]),
)
def test_no_message_makes_the_gate_fail_and_only_the_table_lets_one_in(
    changes: dict[str, object], payload: object, queue: str
) -> None:
    message = Delivery(
        queue=queue,
        routing_key=queue,
        headers={**headers(), **changes},
        content_type="application/json",
        content_encoding="utf-8",
        compressed=False,
        unreadable=False,
        decode=lambda: list(payload) if isinstance(payload, tuple) else payload,
    )
    verdict = judge(message)
    if not isinstance(verdict, Refuse):
        task = message.headers["task"]
        assert (queue, task) in {
            ("fleet.email", "fleet.send_mail"),
            ("fleet.shop", "shop.invoice"),
            ("fleet.shop", "shop.count"),
        }
