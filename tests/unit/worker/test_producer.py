"""What becomes of Celery's message on its way to the wire."""

import json
from typing import Any

import pytest
from kombu import Exchange

from fleet.publish.encoding import Encoder
from fleet.publish.message import WireMessage, delayed_routing_key
from fleet.worker.producer import wire_message

HEADERS = {"id": "id-1", "task": "shop.charge"}


def made(**options: Any) -> WireMessage:
    defaults = {
        "exchange": "fleet.tasks",
        "routing_key": "fleet.shop",
        "headers": HEADERS,
        "serializer": "json",
    }
    return wire_message(([1], {"a": "ä"}, {}), **(defaults | options))


def test_a_message_is_json_for_its_queue_under_its_tasks_id() -> None:
    message = made(timestamp=7, priority=None, reply_to="", correlation_id="other")
    assert json.loads(message.body) == [[1], {"a": "ä"}, {}]
    assert (message.exchange, message.routing_key) == ("fleet.tasks", "fleet.shop")
    assert message.message_id == "id-1"
    assert message.properties["content_type"] == "application/json"
    assert message.properties["timestamp"] == 7
    assert message.required_queue is None


def test_a_delayed_message_needs_the_queue_that_it_is_to_reach() -> None:
    key = delayed_routing_key(5, "fleet.shop")
    message = made(exchange=Exchange("celery_delayed_27", type="topic"), routing_key=key)
    assert message.exchange == "celery_delayed_27"
    assert message.required_queue == "fleet.shop"


@pytest.mark.parametrize("asked", [{"delivery_mode": 1}, {"delivery_mode": "transient"}, {}])
def test_every_message_survives_a_restart_of_the_broker(asked: dict[str, Any]) -> None:
    assert made(**asked).properties["delivery_mode"] == 2


def test_what_expires_in_seconds_expires_in_milliseconds_of_the_broker() -> None:
    assert made(expiration=1.5).properties["expiration"] == "1500"


def test_what_only_kombu_would_heed_is_left_out() -> None:
    kombus = {"retry": True, "retry_policy": {}, "declare": [], "mandatory": True, "compression": "zlib"}
    assert made(**kombus) == made()
    assert Encoder().encode(made(**kombus)).body == made().body
