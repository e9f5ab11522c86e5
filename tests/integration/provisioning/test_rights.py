"""Attacks on a real broker: what each role tries, and what the broker says to it."""

import time
from collections.abc import Callable
from uuid import uuid4

import amqp
import pytest
from amqp.exceptions import AccessRefused
from celery import Celery
from kombu import Exchange, Queue

from tests.integration.provisioning.conftest import Site
from tests.servers import StartWorker

Attempt = Callable[[amqp.Channel], object]
ONE_SECOND = "0." * 27 + "1."


def publish(exchange: str, key: str) -> Attempt:
    return lambda channel: channel.basic_publish(amqp.Message("x"), exchange=exchange, routing_key=key)


def get(queue: str) -> Attempt:
    return lambda channel: channel.basic_get(queue, no_ack=True)


def consume(queue: str) -> Attempt:
    return lambda channel: channel.basic_consume(queue)


def declare_queue(name: str) -> Attempt:
    return lambda channel: channel.queue_declare(name, durable=True, auto_delete=False)


def declare_exchange(name: str) -> Attempt:
    return lambda channel: channel.exchange_declare(name, "topic", durable=True, auto_delete=False)


def bind(queue: str, exchange: str, key: str) -> Attempt:
    return lambda channel: channel.queue_bind(queue, exchange, key)


def purge(queue: str) -> Attempt:
    return lambda channel: channel.queue_purge(queue)


def delete(queue: str) -> Attempt:
    return lambda channel: channel.queue_delete(queue)


PUBLISHERS_ATTACKS = {
    "a backup": publish("fleet.tasks", "fleet.backup.alpha"),
    "a key that ends as its own": publish("fleet.tasks", "fleet.backup.alpha.fleet.email"),
    "a key that begins as its own": publish("fleet.tasks", "fleet.email.x"),
    "a delayed key sent at once": publish("fleet.tasks", f"{ONE_SECOND}fleet.email"),
    "a delayed backup": publish("celery_delayed_27", f"{ONE_SECOND}fleet.backup.alpha"),
    "a delayed backup behind two delays": publish(
        "celery_delayed_27", f"{ONE_SECOND}{ONE_SECOND}fleet.backup.alpha"
    ),
    "a lower delay level": publish("celery_delayed_0", f"{ONE_SECOND}fleet.backup.alpha"),
    "the end of the delay": publish("celery_delayed_delivery", f"{ONE_SECOND}fleet.backup.alpha"),
    "the default exchange": publish("", "fleet.backup.alpha"),
    "the default exchange to its own queue": publish("", "fleet.email"),
    "remote control": publish("celery.pidbox", ""),
    "a worker's mailbox": publish("", "backup-a@alpha.celery.pidbox"),
    "replies": publish("reply.celery.pidbox", "x"),
    "a forged outcome": publish("fleet.journal", "alpha"),
    "a forged dead letter": publish("fleet.dead", "fleet.email.dlq"),
    "another topic exchange": publish("amq.topic", "x"),
    "reading mail": get("fleet.email"),
    "consuming mail": consume("fleet.email"),
    "reading dead letters": get("fleet.email.dlq"),
    "a queue of its own": declare_queue("spy"),
    "a mailbox of its own": declare_queue("x@alpha.celery.pidbox"),
    "an exchange of its own": declare_exchange("spy"),
    "a binding": bind("fleet.backup.alpha", "fleet.tasks", "fleet.email"),
    "a purge": purge("fleet.email"),
    "a deletion": delete("fleet.email"),
}
WORKERS_ATTACKS = {
    "a queue": declare_queue("fleet.new"),
    "a task queue as it is": lambda channel: channel.queue_declare(
        "fleet.email", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
    ),
    "an exchange": declare_exchange("fleet.tasks"),
    "a deletion": delete("fleet.email"),
    "a binding": bind("fleet.email", "fleet.tasks", "#"),
    "a queue it does not serve": publish("fleet.tasks", "fleet.elsewhere"),
    "the default exchange": publish("", "fleet.email"),
    "remote control of others": publish("celery.pidbox", ""),
    "an outcome of a foreign host": publish("fleet.journal", "gamma"),
    "reading dead letters": get("fleet.email.dlq"),
    "reading outcomes": consume("fleet.journal"),
    "the end of the delay": publish("celery_delayed_delivery", f"{ONE_SECOND}fleet.email"),
}
OPERATORS_ATTACKS = {
    "a task for no queue": publish("fleet.tasks", "fleet.elsewhere"),
    "a delayed task": publish("celery_delayed_27", f"{ONE_SECOND}fleet.email"),
    "a delayed key sent at once": publish("fleet.tasks", f"{ONE_SECOND}fleet.email"),
    "reading mail": get("fleet.email"),
    "a queue": declare_queue("spy"),
    "an outcome of a host": publish("fleet.journal", "alpha"),
    "a note in another's name": publish("fleet.journal", "@somebody"),
    "a forged dead letter": publish("fleet.dead", "fleet.email.dlq"),
}
OBSERVERS_ATTACKS = {
    "a task": publish("fleet.tasks", "fleet.email"),
    "an outcome": publish("fleet.journal", "alpha"),
    "reading mail": get("fleet.email"),
    "a queue": declare_queue("spy"),
    "a queue that the broker names": declare_queue(""),
    "remote control": publish("celery.pidbox", ""),
}


@pytest.mark.parametrize(
    ("role", "attacks"),
    [
        ("publisher", PUBLISHERS_ATTACKS),
        ("worker", WORKERS_ATTACKS),
        ("operator", OPERATORS_ATTACKS),
        ("observer", OBSERVERS_ATTACKS),
    ],
)
def test_every_attack_of_a_role_is_refused(site: Site, role: str, attacks: dict[str, Attempt]) -> None:
    site.vhost.api("PUT", f"exchanges/{site.vhost.name}/celery.pidbox", {"type": "fanout", "durable": False})
    allowed = []
    for name, attack in attacks.items():
        with site.channel(role) as channel:
            try:
                attack(channel)
            except AccessRefused:
                continue
            allowed.append(name)
    assert allowed == []


def test_what_a_role_is_for_is_allowed(site: Site) -> None:
    with site.channel("publisher") as channel:
        publish("fleet.tasks", "fleet.email")(channel)
        publish("celery_delayed_27", f"{ONE_SECOND}fleet.email")(channel)
    with site.channel("worker") as channel:
        publish("fleet.tasks", "fleet.backup.beta")(channel)
        publish("celery_delayed_27", f"{ONE_SECOND}fleet.backup.beta")(channel)
        publish("fleet.journal", "alpha")(channel)
        publish("fleet.dead", "fleet.email.dlq")(channel)
        assert channel.queue_declare("fleet.email", passive=True)
        assert get("fleet.email")(channel) is not None
    with site.channel("operator") as channel:
        publish("fleet.tasks", "fleet.email")(channel)
        publish("fleet.journal", f"@{site.user('operator')}")(channel)
        assert get("fleet.email.dlq")(channel) is not None
    with site.channel("observer") as channel:
        channel.basic_qos(0, 1, a_global=False)
        read: list[amqp.Message] = []
        channel.basic_consume("fleet.journal", callback=read.append, arguments={"x-stream-offset": "first"})
        channel.connection.drain_events(timeout=10)
    assert {message.body for message in read} == {"x"}


def test_a_celery_countdown_arrives_when_it_is_due(site: Site) -> None:
    broker = (
        f"amqp://{site.user('publisher')}:{site.password}@127.0.0.1:{site.vhost.node.port}/{site.vhost.name}"
    )
    tasks = Exchange("fleet.tasks", type="topic", no_declare=True)
    queue = Queue(
        "fleet.email",
        exchange=tasks,
        routing_key="fleet.email",
        queue_arguments={"x-queue-type": "quorum"},
        no_declare=True,
    )
    with Celery("sender", broker=broker, set_as_current=False) as app:
        app.conf.task_queues = [queue]
        sent = time.monotonic()
        app.send_task("fleet.send_mail", queue=queue, countdown=2)
    with site.channel("worker") as channel:
        message = None
        while message is None and time.monotonic() < sent + 15:
            message = channel.basic_get("fleet.email", no_ack=True)
            time.sleep(0.05)
    assert message is not None
    assert message.headers["task"] == "fleet.send_mail"
    assert time.monotonic() - sent >= 1.9


def test_a_rejected_message_goes_to_its_dead_letter_queue_with_the_reason(site: Site) -> None:
    with site.channel("worker") as channel:
        publish("fleet.tasks", "fleet.backup.alpha")(channel)
        message = channel.basic_get("fleet.backup.alpha")
        channel.basic_reject(message.delivery_tag, requeue=False)
    body = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    found: list[dict[str, dict[str, dict[str, list[dict[str, str]]]]]] = []
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:
        found = site.vhost.api("POST", f"queues/{site.vhost.name}/fleet.backup.dlq/get", body)
    (death,) = found[0]["properties"]["headers"]["x-death"]
    assert (death["queue"], death["reason"]) == ("fleet.backup.alpha", "rejected")


def test_an_operator_reaches_workers_by_remote_control_and_a_publisher_does_not(
    site: Site, start_worker: StartWorker
) -> None:
    start_worker(site.file, "shared")
    answers = {}
    for role in ("operator", "publisher"):
        broker = (
            f"amqp://{site.user(role)}:{site.password}@127.0.0.1:{site.vhost.node.port}/{site.vhost.name}"
        )
        with Celery(f"asker-{uuid4()}", broker=broker, set_as_current=False) as app:
            try:
                answers[role] = app.control.ping(timeout=5, limit=1)
            except AccessRefused:
                answers[role] = "refused"
    assert answers == {"operator": [{"shared-a@alpha": {"ok": "pong"}}], "publisher": "refused"}
