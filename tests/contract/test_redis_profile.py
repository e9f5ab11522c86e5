"""Does Celery on Redis take fleet's messages, and does fleet read the results that Celery stores there?"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Exchange, Queue

from fleet import Client
from fleet.config.parse import parse
from fleet.daemons.files import write_private
from fleet.daemons.process import free_ports
from fleet.daemons.redis import RedisServer
from fleet.errors import BrokerRefused, BrokerUnreachable, OutcomeUnknown, UsageError
from fleet.model import Fleet, Node

FILE = """
[fleet]
name = "test"
timezone = "UTC"
state_dir = "{directory}/state"

[broker]
url = "{url}"
password = "file:{directory}/redis.password"
visibility_timeout = "2d"
{results}

[hosts.alpha]
address = "127.0.0.1"

[queues.email]
tasks = ["shop.*"]
"""


def fleet_on(
    redis: RedisServer, directory: Path, *, password: str | None = None, results: bool = True
) -> Fleet:
    write_private(directory / "redis.password", (password or redis.password.reveal()) + "\n")
    backend = (
        f'result_backend = "redis://127.0.0.1:{redis.port}/1"\n'
        f'result_password = "file:{directory}/redis.password"'
    )
    text = FILE.format(directory=directory, url=redis.url, results=backend if results else "")
    return parse(text, source="fleet.toml")


@pytest.fixture
def app(redis: RedisServer) -> Celery:
    login = f"redis://:{redis.password.reveal()}@127.0.0.1:{redis.port}"
    made = Celery("contract", broker=f"{login}/0", backend=f"{login}/1", set_as_current=False)
    queue = Queue("fleet.email", Exchange("fleet.email", "direct"), routing_key="fleet.email")
    made.conf.task_queues = (queue,)
    return made


def taken(app: Celery) -> Any:
    """Take one message from the queue as Celery's consumers do."""
    found: list[Any] = []
    with app.connection_for_read() as connection:
        consumer = connection.Consumer(
            app.conf.task_queues[0], accept=["json"], callbacks=[lambda _, message: found.append(message)]
        )
        with consumer:
            connection.drain_events(timeout=10)
        found[0].ack()
    return found[0]


def test_celery_reads_the_same_task_from_fleets_message_as_from_its_own(
    redis: RedisServer, app: Celery, tmp_path: Path
) -> None:
    with Client(fleet_on(redis, tmp_path), {}) as client:
        sent = client.send("shop.charge", {"order": 7}, args=(1,))
    ours = taken(app)
    app.send_task("shop.charge", (1,), {"order": 7}, task_id=sent.id, queue="fleet.email")
    theirs = taken(app)
    assert ours.payload == theirs.payload
    assert (
        ours.properties["delivery_info"]["routing_key"] == theirs.properties["delivery_info"]["routing_key"]
    )
    hidden = {"argsrepr", "kwargsrepr", "origin", "fleet_version", "fleet_sent", "fleet_first", "traceparent"}
    assert {name: value for name, value in ours.headers.items() if name not in hidden} == {
        name: value for name, value in theirs.headers.items() if name not in hidden
    }


def test_a_delayed_task_carries_the_moment_at_which_a_worker_may_start_it(
    redis: RedisServer, app: Celery, tmp_path: Path
) -> None:
    with Client(fleet_on(redis, tmp_path), {}) as client:
        client.send("shop.charge", delay_seconds=60)
    assert taken(app).headers["eta"] is not None


# Celery 5.7 calls what redis-py 8 deprecates.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
def test_the_results_that_celery_stores_are_outcomes(redis: RedisServer, app: Celery, tmp_path: Path) -> None:
    app.backend.store_result("good", {"answer": 42}, "SUCCESS")
    app.backend.mark_as_failure("bad", ValueError("card 4242 declined"))
    app.backend.store_result("busy", None, "STARTED")
    with Client(fleet_on(redis, tmp_path), {}) as client:
        found = client.wait(["good", "bad"], timeout_seconds=5)
        with pytest.raises(OutcomeUnknown, match="busy"):
            client.wait(["busy"], timeout_seconds=0.3)
    assert found["good"].succeeded
    assert (found["bad"].outcome, found["bad"].error) == ("failed", "ValueError")
    assert "4242" not in repr(found["bad"])
    assert abs(found["good"].finished - time.time()) < 60


def test_without_a_result_backend_nobody_can_wait_and_nothing_is_sent(
    redis: RedisServer, tmp_path: Path
) -> None:
    with (
        Client(fleet_on(redis, tmp_path, results=False), {}) as client,
        pytest.raises(UsageError, match="this fleet has neither"),
    ):
        client.watch()


def test_a_wrong_password_is_refused_and_never_shown(redis: RedisServer, tmp_path: Path) -> None:
    with Client(fleet_on(redis, tmp_path, password="wrong-hunter2"), {}) as client:
        with pytest.raises(BrokerRefused, match="refused database 0") as caught:
            client.send("shop.charge")
        assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"
        with pytest.raises(BrokerUnreachable, match="result backend") as unreadable:
            client.wait(["1"], timeout_seconds=1)
        assert "hunter2" not in f"{unreadable.value!r}{unreadable.value.__cause__!r}"


def test_a_redis_that_is_down_is_unreachable(redis: RedisServer, tmp_path: Path) -> None:
    fleet = fleet_on(redis, tmp_path)
    redis.kill()
    with Client(fleet, {}) as client, pytest.raises(BrokerUnreachable, match=f"127.0.0.1:{redis.port}"):
        client.send("shop.charge")


def test_what_was_kept_while_redis_was_down_arrives_in_its_order(
    redis: RedisServer, app: Celery, tmp_path: Path
) -> None:
    fleet = fleet_on(redis, tmp_path)
    nobody = replace(fleet.broker, nodes=(Node(host="127.0.0.1", port=free_ports(1)[0]),))
    outbox = tmp_path / "box" / "outbox.sqlite3"
    with Client(replace(fleet, broker=nobody), {}, outbox=outbox) as client:
        kept = [client.send("shop.charge", {"number": number}) for number in range(3)]
    assert all(sent.in_outbox for sent in kept)
    with Client(fleet, {}, outbox=outbox) as client:
        last = client.send("shop.charge")
    found = [taken(app).headers["id"] for _ in range(4)]
    assert found == [sent.id for sent in (*kept, last)]
