"""What can somebody do who may enqueue into one queue, and nothing else?"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import amqp
import pytest

from tests.integration.worker.conftest import RawPublisher, Shop, eventually

SIGNATURE = {"task": "probe.sleep", "args": [0], "kwargs": {}, "options": {"queue": "fleet.slow.alpha"}}
MAP = [[], {"task": SIGNATURE, "it": [1]}, {}]
DELAY = "0." * 27 + "1."


def headers(task: object = "probe.ok", **changes: Any) -> dict[str, Any]:
    identity = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": task,
        "id": identity,
        "root_id": identity,
        "retries": 0,
        "timelimit": [None, None],
    } | changes


def hours(number: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=number)).isoformat()


def nested(key: str, value: object) -> list[object]:
    return [[], {}, {key: value}]


#: name → (reason it is refused for, headers, body, properties)
ATTACKS: dict[str, tuple[str, dict[str, Any] | None, object, dict[str, Any]]] = {
    "a foreign task": ("not_allowed", headers("fleet.backup"), [[], {}, {}], {}),
    "a built-in that wraps another": ("celery_built_in", headers("celery.starmap"), MAP, {}),
    "a link": ("callbacks", headers(), nested("callbacks", [SIGNATURE]), {}),
    "an error link": ("callbacks", headers("probe.fail"), nested("errbacks", [SIGNATURE]), {}),
    "a chain": ("callbacks", headers(), nested("chain", [SIGNATURE]), {}),
    "a chord": ("callbacks", headers(), nested("chord", SIGNATURE), {}),
    "a group": ("callbacks", headers(group="g"), [[], {}, {}], {}),
    "stamps": ("callbacks", headers(stamped_headers=["queue"], stamps={"queue": "x"}), [[], {}, {}], {}),
    "a link in a header": ("overriding_header", headers(callbacks=[SIGNATURE]), [[], {}, {}], {}),
    "another way back": ("overriding_header", headers(delivery_info={}), [[], {}, {}], {}),
    "another name": ("overriding_header", headers(shadow="probe.sleep"), [[], {}, {}], {}),
    "a task without code": ("unknown_task", headers("probe.nothing"), [[], {}, {}], {}),
    "garbage": ("undecodable", headers(), b"\xff\xfe", {}),
    "a deep body": ("undecodable", headers(), b"[" * 50_000, {}),
    "pickle": ("content_type", headers(), b"\x80\x02N.", {"content_type": "application/x-python-serialize"}),
    "the old protocol": ("protocol", {}, {"task": "probe.ok", "id": "1", "args": [], "kwargs": {}}, {}),
    "no headers": ("protocol", None, [[], {}, {}], {}),
    "a packed body": ("compressed", headers(compression="application/x-gzip"), b"x", {}),
    "retries for ever": ("malformed", headers(retries=-1_000_000), [[], {}, {}], {}),
    "a list for a name": ("malformed", headers(["probe.ok"]), [[], {}, {}], {}),
    "the past": ("expired", headers(expires=hours(-1)), [[], {}, {}], {}),
    "the far future": ("eta", headers(eta=hours(24 * 365 * 100)), [[], {}, {}], {}),
}


@pytest.fixture
def web(shop: Shop) -> Iterator[RawPublisher]:
    publisher = shop.publisher()
    yield publisher
    publisher.close()


def test_every_attack_ends_in_the_dead_letter_queue_with_its_reason(shop: Shop, web: RawPublisher) -> None:
    shop.start()
    for name, (_, message_headers, body, properties) in ATTACKS.items():
        web.publish(message_headers, body, message_id=name, **properties)
    web.publish(headers(), [["still here"], {}, {}])
    letters = shop.dead_letters("shop", at_least=len(ATTACKS))

    found = {
        letter["properties"]["message_id"]: letter["properties"]["headers"]["fleet_refused_reason"]
        for letter in letters
    }
    assert found == {name: reason for name, (reason, *_) in ATTACKS.items()}
    shop.expect("ok", "still")
    assert [note[0] for note in shop.notes()] == ["ok"]
    origin = letters[0]["properties"]["headers"]
    assert origin["fleet_refused_worker"] == "shared-a@alpha"
    assert origin["fleet_refused_queue"] == "fleet.shop"
    assert (origin["fleet_refused_exchange"], origin["fleet_refused_routing_key"]) == (
        "fleet.tasks",
        "fleet.shop",
    )
    assert shop.depth("fleet.shop") == 0


def test_a_message_whose_properties_cannot_be_read_ends_no_worker(shop: Shop, web: RawPublisher) -> None:
    worker = shop.start()
    web.publish(headers(), content_type=b"\xff\xfe")
    web.publish(headers(), correlation_id=b"\xff\xfe")
    web.publish(headers(), [["still here"], {}, {}])
    assert len(shop.dead_letters("shop", at_least=2)) == 2
    shop.expect("ok", "still")
    assert worker.is_alive()


@pytest.mark.parametrize(
    ("exchange", "key"),
    [("fleet.tasks", "fleet.slow.alpha"), ("celery_delayed_27", f"{DELAY}fleet.slow.alpha")],
)
def test_the_broker_refuses_a_foreign_key(web: RawPublisher, exchange: str, key: str) -> None:
    with pytest.raises(amqp.AccessRefused):
        web.publish(headers("probe.sleep"), exchange=exchange, key=key)


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_a_second_key_that_the_broker_does_not_check_is_refused_by_the_worker(
    shop: Shop, web: RawPublisher, name: str
) -> None:
    web.publish(headers("probe.sleep", **{name: ["fleet.slow.alpha"]}), [[0], {}, {}])
    shop.start("slow")
    (letter,) = shop.dead_letters("slow", at_least=1)
    assert letter["properties"]["headers"]["fleet_refused_reason"] == "foreign_routing_key"
    assert not shop.notes("start")


def test_what_must_wait_long_waits_in_the_broker(shop: Shop, web: RawPublisher) -> None:
    shop.start()
    web.publish(headers(eta=hours(11 / 3600)), [["at last"], {}, {}])
    # Prefetch is 8: were these held here, the last one would not get in.
    for _ in range(8):
        web.publish(headers(eta=hours(1)))
    web.publish(headers(), [["at once"], {}, {}])
    shop.expect("ok", "at", seconds=5)
    assert shop.notes("ok") == [["ok", "at", "once"]]
    shop.expect("ok", "at", times=2)
    eventually(lambda: shop.depth("fleet.shop") == 0)
