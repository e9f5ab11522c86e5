"""Is a task message that fleet builds the same to Celery as one of Celery's own?"""

from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from fleet.publish import Publisher, TaskMessage
from fleet.publish.message import delayed_routing_key
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on

ARGS = (1, "zwei", [None, 2.5])
KWARGS = {"to": "ü@example.org", "nested": {"a": [True]}}


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    made = site_on(vhost)
    made.declare(EMAIL_QUEUE)
    return made


def send(site: Site, **fields: Any) -> None:
    message = TaskMessage(
        task="shop.charge", queue=EMAIL_QUEUE, task_id="id-1", args=ARGS, kwargs=KWARGS, **fields
    )
    with Publisher(site.fleet, site.password) as publisher:
        publisher.send(message)


def charge(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


def topic_queue() -> Any:
    exchange = Exchange("fleet.tasks", "topic")
    return Queue(EMAIL_QUEUE.name, exchange, routing_key=EMAIL_QUEUE.name, no_declare=True)


@pytest.fixture
def app(site: Site) -> Celery:
    made = Celery("contract", broker=site.vhost.url, set_as_current=False)
    made.conf.task_queues = (topic_queue(),)
    made.task(charge, name="shop.charge", shared=False)
    return made


def taken(app: Celery, timeout_seconds: float = 10) -> Any:
    """Take one message from the queue as Celery's consumers do."""
    found: list[Any] = []
    with app.connection_for_read() as connection:
        consumer = connection.Consumer(
            topic_queue(), accept=["json"], callbacks=[lambda _, message: found.append(message)]
        )
        with consumer:
            connection.drain_events(timeout=timeout_seconds)
        found[0].ack()
    return found[0]


def test_celery_reads_the_same_task_from_fleets_message_as_from_its_own(site: Site, app: Celery) -> None:
    send(site)
    ours = taken(app)
    app.send_task("shop.charge", ARGS, KWARGS, task_id="id-1", queue=EMAIL_QUEUE.name)
    theirs = taken(app)

    assert ours.payload == theirs.payload
    assert (ours.content_type, ours.content_encoding) == (theirs.content_type, theirs.content_encoding)
    assert ours.properties["delivery_mode"] == theirs.properties["delivery_mode"]
    assert ours.properties["correlation_id"] == theirs.properties["correlation_id"]
    hidden = {"argsrepr", "kwargsrepr", "origin"}
    stamps = {"fleet_version", "fleet_sent", "fleet_first", "traceparent"}
    assert set(ours.headers) - set(theirs.headers) == stamps
    assert {name: value for name, value in ours.headers.items() if name not in hidden | stamps} == {
        name: value for name, value in theirs.headers.items() if name not in hidden
    }


def test_celery_finds_task_and_arguments_in_fleets_message(site: Site, app: Celery) -> None:
    send(site)
    request = Request(taken(app), app=app, task=app.tasks["shop.charge"])
    assert (request.id, request.name, request.root_id) == ("id-1", "shop.charge", "id-1")
    assert (list(request.args), request.kwargs) == (list(ARGS), KWARGS)
    assert (request.eta, request.expires, request.request_dict["retries"]) == (None, None, 0)
    assert "example.org" not in request.kwargsrepr


@pytest.mark.parametrize("seconds", [1, 2, 3, 59, 86_400, 2**28 - 1])
def test_a_delays_routing_key_is_the_one_that_kombu_makes(seconds: int) -> None:
    assert delayed_routing_key(seconds, "fleet.email") == calculate_routing_key(seconds, "fleet.email")


def test_a_delayed_message_arrives_after_its_delay(site: Site, app: Celery) -> None:
    with Connection(site.vhost.url) as connection:
        declare_native_delayed_delivery_exchanges_and_queues(connection, "classic")
        bind_queue_to_native_delayed_delivery_exchange(connection, topic_queue())
    send(site, delay_seconds=0.4)
    assert site.messages(EMAIL_QUEUE.name) == []
    assert taken(app).headers["id"] == "id-1"
