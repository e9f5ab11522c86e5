"""What Celery publishes through: over several nodes, across a fork, and while the broker is away."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from fleet.connection import Target
from fleet.login import Login
from fleet.model import Node
from fleet.publish import new_task_id
from fleet.worker.producer import ConfirmedProducer, Misdirected
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on
from tests.integration.worker.conftest import eventually
from tests.integration.worker.proxy import Cable

#: nothing listens there
NOWHERE = Node(host="127.0.0.1", port=9)


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    made = site_on(vhost)
    made.declare(EMAIL_QUEUE)
    return made


def target_of(site: Site, *, nodes: tuple[Node, ...] = ()) -> Target:
    broker = replace(site.fleet.broker, nodes=nodes or site.fleet.broker.nodes)
    login = Login(user=broker.user, password=site.password)
    return Target(broker=broker, login=login, name="tasks of a test")


def publish(producer: ConfirmedProducer, key: str = EMAIL_QUEUE.name) -> str:
    task_id = new_task_id()
    producer.publish(
        ([], {}, {}),
        exchange="fleet.tasks",
        routing_key=key,
        headers={"id": task_id, "task": "fleet.send_mail"},
        serializer="json",
    )
    return task_id


def ids(site: Site) -> set[str]:
    return {message.headers["id"] for message in site.messages(EMAIL_QUEUE.name)}


def connections(site: Site) -> set[str]:
    rows = site.vhost.node.ctl("--quiet", "list_connections", "name", "vhost").splitlines()
    return {row.split("\t")[0] for row in rows if row.endswith(f"\t{site.vhost.name}")}


def test_a_node_that_is_away_is_passed_over(site: Site) -> None:
    target = target_of(site, nodes=(NOWHERE, *site.fleet.broker.nodes))
    with closing(ConfirmedProducer(lambda: target)) as producer:
        task_id = publish(producer)
    assert ids(site) == {task_id}


def test_what_no_queue_takes_is_misdirected_and_the_next_message_goes_through(site: Site) -> None:
    with closing(ConfirmedProducer(lambda: target_of(site))) as producer:
        with pytest.raises(Misdirected, match=r"no queue takes task `fleet\.send_mail`: `fleet\.no`"):
            publish(producer, "fleet.no")
        task_id = publish(producer)
    assert ids(site) == {task_id}


def test_a_full_queue_is_an_error_but_not_misdirected(vhost: BrokerVhost) -> None:
    site = site_on(vhost)
    site.declare(EMAIL_QUEUE, x_max_length=1, x_overflow="reject-publish")

    def until_full() -> None:
        with closing(ConfirmedProducer(lambda: target_of(site))) as producer:
            for _ in range(20):
                publish(producer)

    with pytest.raises(OperationalError, match="a queue is full") as caught:
        until_full()
    assert not isinstance(caught.value, Misdirected)


def test_a_changed_password_is_used_for_the_next_message(site: Site) -> None:
    passwords: list[Target] = [target_of(site)]
    with closing(ConfirmedProducer(lambda: passwords[-1])) as producer:
        first = publish(producer)
        site.vhost.node.ctl("change_password", site.vhost.user, "changed")
        changed = replace(site, vhost=replace(site.vhost, password="changed"))
        passwords.append(target_of(changed))
        second = publish(producer)
    assert ids(changed) == {first, second}


def test_a_forked_child_publishes_on_a_connection_of_its_own_and_leaves_its_parents_alone(site: Site) -> None:
    with closing(ConfirmedProducer(lambda: target_of(site))) as producer:
        publish(producer)
        before = connections(site)
        assert len(before) == 1
        assert in_a_fork(lambda: publish(producer)) == 0
        publish(producer)
        assert before <= connections(site)
    assert len(ids(site)) == 3


def in_a_fork(do: Callable[[], Any]) -> int:
    """Return the exit code of a forked child that has done ``do``."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_threads_that_publish_at_once_have_a_connection_each(site: Site) -> None:
    producer, start = ConfirmedProducer(lambda: target_of(site)), threading.Barrier(4)
    sent: list[str] = []

    def run() -> None:
        start.wait(10)
        sent.extend(publish(producer) for _ in range(50))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    producer.close()
    assert len(sent) == 200
    assert ids(site) == set(sent)


def test_a_broker_that_is_away_is_waited_for_but_not_for_ever(site: Site) -> None:
    with Cable(site.vhost.node.port) as cable:
        cable.cut()
        target = target_of(site, nodes=(Node(host="127.0.0.1", port=cable.port),))
        started = time.monotonic()
        with pytest.raises(OperationalError, match="no broker node answered"):
            publish(ConfirmedProducer(lambda: target, timeout_seconds=2))
        assert 1.5 < time.monotonic() - started < 10

        with closing(ConfirmedProducer(lambda: target, timeout_seconds=60)) as producer:
            with ThreadPoolExecutor(1) as beside:
                publishing = beside.submit(publish, producer)
                with pytest.raises(TimeoutError):
                    publishing.result(1)
                cable.mend()
                task_id = publishing.result(60)
            assert ids(site) == {task_id}


def test_a_connection_that_is_not_used_is_closed_before_the_broker_complains(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.worker.producer.IDLE_SECONDS", 0.2)
    with closing(ConfirmedProducer(lambda: target_of(site))) as producer:
        publish(producer)
        eventually(lambda: not connections(site), what="the idle connection should be closed")
        publish(producer)
        assert len(ids(site)) == 2
