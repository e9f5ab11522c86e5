"""Very many tasks on a real broker: what became of each of them, whatever happens on the way."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet import Client, TaskCall
from fleet.daemons.process import free_ports
from fleet.daemons.rabbitmq import RabbitNode
from fleet.errors import BrokerRefused, BrokerUnreachable, FleetError, PublishUncertain
from fleet.model import Node
from fleet.publish import Publisher, TaskMessage, new_task_id
from fleet.publish.fate import Fate, FateKind
from fleet.routes import BrokerQueue
from tests.broker import BrokerVhost
from tests.integration.sending.proxy import Proxy
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on
from tests.servers import clean_environ

A, U = FateKind.ACCEPTED, FateKind.UNKNOWN
NOWHERE = replace(EMAIL_QUEUE, name="fleet.nowhere")
LARGE = {"text": "." * 2000}


def mails(
    count: int, queue: BrokerQueue = EMAIL_QUEUE, *, at: Callable[[int], object] = int, **fields: Any
) -> Iterator[TaskMessage]:
    """Yield messages; ``at`` is called with the number of each when it is taken."""
    for number in range(count):
        at(number)
        yield TaskMessage(task="fleet.send_mail", queue=queue, task_id=new_task_id(), **fields)


def through(site: Site, ports: Sequence[int]) -> Site:
    nodes = tuple(Node(host="127.0.0.1", port=port) for port in ports)
    return replace(site, fleet=replace(site.fleet, broker=replace(site.fleet.broker, nodes=nodes)))


def publisher(site: Site, **options: Any) -> Publisher:
    return Publisher(site.fleet, site.password, **options)


def queued(site: Site, queue: str = EMAIL_QUEUE.name) -> Counter[str]:
    """Take every message out of ``queue`` and count them by task id."""
    return Counter(message.headers["id"] for message in site.messages(queue))


def until_error(sender: Publisher, messages: Iterator[TaskMessage]) -> tuple[list[FateKind], FleetError]:
    """Send ``messages`` and return the fates that came, and the error that came after them."""
    kinds: list[FateKind] = []
    try:
        for _, fate in sender.stream(messages):
            kinds.append(fate.kind)
    except FleetError as error:
        return kinds, error
    raise AssertionError("no error")


def test_thousands_of_tasks_are_accepted_once_each_and_in_order(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with publisher(site) as sender:
        sent = list(sender.stream(mails(3500)))
    assert {fate for _, fate in sent} == {Fate(kind=A)}
    found = [message.headers["id"] for message in site.messages(EMAIL_QUEUE.name)]
    assert found == [message.task_id for message, _ in sent]


def test_each_task_is_told_apart_and_tasks_can_be_sent_meanwhile(site: Site) -> None:
    site.declare(EMAIL_QUEUE)

    def mixed() -> Iterator[TaskMessage]:
        for number in range(1500):
            yield from mails(1, NOWHERE if number % 3 == 0 else EMAIL_QUEUE)

    with publisher(site) as sender:
        kinds = []
        for message, fate in sender.stream(mixed()):
            kinds.append(fate.kind)
            if fate.kind is FateKind.UNROUTABLE and len(kinds) < 10:
                sender.send(replace(message, queue=EMAIL_QUEUE))
    assert kinds == [FateKind.UNROUTABLE, A, A] * 500
    assert sum(queued(site).values()) == 1000 + 3


def test_what_a_full_queue_did_not_take_is_refused_and_nowhere(site: Site) -> None:
    site.declare(EMAIL_QUEUE, x_max_length=100, x_overflow="reject-publish")
    with publisher(site) as sender:
        sent = list(sender.stream(mails(3000)))
    accepted = {message.task_id for message, fate in sent if fate.accepted}
    refused = {message.task_id for message, fate in sent if fate.kind is FateKind.REFUSED}
    assert len(accepted) + len(refused) == 3000
    assert len(refused) > 1000
    assert set(queued(site)) == accepted


def test_a_delay_to_a_queue_that_is_missing_is_unroutable_and_spoils_no_other(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with site.connection() as connection:
        connection.channel().exchange_declare("celery_delayed_27", "topic", durable=True, auto_delete=False)

    def mixed() -> Iterator[TaskMessage]:
        yield from mails(300)
        yield from mails(1, NOWHERE, delay_seconds=5)
        yield from mails(300)

    with publisher(site) as sender:
        fates = [fate for _, fate in sender.stream(mixed())]
    assert [fate.kind for fate in fates] == [A] * 300 + [FateKind.UNROUTABLE] + [A] * 300
    assert "no queue 'fleet.nowhere'" in fates[300].reason
    assert all(fate.writes == 1 for fate in fates if fate.accepted)


def test_of_many_tasks_the_one_that_the_user_may_not_send_is_named(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    site.declare(NOWHERE)
    permission = {"exchange": "fleet.tasks", "write": r"^fleet\.email$", "read": ".*"}
    site.vhost.api("PUT", f"topic-permissions/{site.vhost.name}/{site.vhost.user}", permission)

    def mixed() -> Iterator[TaskMessage]:
        yield from mails(50)
        yield from mails(1, NOWHERE)
        yield from mails(50)

    with publisher(site) as sender:
        kinds, error = until_error(sender, mixed())
    assert isinstance(error, BrokerRefused)
    assert "access to topic 'fleet.nowhere'" in error.message
    assert kinds[:51] == [A] * 50 + [FateKind.REFUSED]
    assert not set(kinds[51:]) & {A, FateKind.REFUSED}
    site.vhost.api("DELETE", f"topic-permissions/{site.vhost.name}/{site.vhost.user}")
    assert len(queued(site)) == 50


def test_a_connection_that_is_cut_in_the_middle_loses_nothing_and_keeps_the_ids(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    cuts: list[int] = []

    def cut_twice(sent: bytes) -> bool:
        cuts.append(len(sent))
        return b"fleet_sent" in sent and len(cuts) in (20, 40)

    with Proxy(site.vhost.node.port, cut=cut_twice) as proxy:
        with publisher(through(site, [proxy.port])) as sender:
            sent = list(sender.stream(mails(3000, kwargs=LARGE)))
        assert proxy.accepted == 3
    assert {fate.kind for _, fate in sent} == {A}
    again = {message.task_id for message, fate in sent if fate.may_be_queued_twice}
    found = queued(site)
    assert set(found) == {message.task_id for message, _ in sent}
    assert {task_id for task_id, count in found.items() if count > 1} <= again
    assert 0 < len(again) <= 2000


def test_the_next_node_takes_over_when_one_goes_in_the_middle(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with Proxy(site.vhost.node.port) as second:
        first = Proxy(site.vhost.node.port)
        first.__enter__()

        def end_first(number: int) -> None:
            if number == 1000:
                first.__exit__(None, None, None)

        with publisher(through(site, [first.port, second.port])) as sender:
            sent = list(sender.stream(mails(2000, at=end_first)))
        assert second.accepted == 1
    assert {fate.kind for _, fate in sent} == {A}
    assert len(queued(site)) == 2000


def test_the_next_node_takes_over_when_one_hangs(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    with Proxy(site.vhost.node.port) as first, Proxy(site.vhost.node.port) as second:
        with publisher(through(site, [first.port, second.port])) as sender:
            sender.send(next(mails(1)))
            first.frozen.set()
            started = time.monotonic()
            sender.send(next(mails(1)))
            assert 5 < time.monotonic() - started < 14
        assert second.accepted == 1
    assert len(queued(site)) == 2


def await_registered(node: RabbitNode, site: Site) -> None:
    """Wait until the node has noted the queue on disk: killed before, it would not find the queue again."""
    notes = node.directory / "data" / "fleet@localhost" / "quorum" / "fleet@localhost" / "names.dets"
    uid = f"{site.vhost.name}_{EMAIL_QUEUE.name}".encode()
    deadline = time.monotonic() + 30
    while uid not in notes.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_restart_of_the_broker_is_not_noticed_by_the_caller(own_rabbit: RabbitNode, tmp_path: Path) -> None:
    site = site_on(BrokerVhost.create(own_rabbit, tmp_path))
    site.declare(EMAIL_QUEUE)
    await_registered(own_rabbit, site)
    in_the_middle = threading.Event()

    def note(number: int) -> None:
        if number == 2000:
            in_the_middle.set()

    with publisher(site, timeout_seconds=60.0) as sender, ThreadPoolExecutor(1) as pool:
        many = pool.submit(lambda: list(sender.stream(mails(8000, at=note))))
        assert in_the_middle.wait(30)
        own_rabbit.kill()
        own_rabbit.restart()
        sent = many.result(60)
        sender.send(next(mails(1)))
        own_rabbit.kill()
        one = pool.submit(sender.send, next(mails(1)))
        own_rabbit.restart()
        one.result(60)
    assert {fate.kind for _, fate in sent} == {A}
    assert any(fate.may_be_queued_twice for _, fate in sent)
    found = queued(site)
    assert set(found) >= {message.task_id for message, _ in sent}
    assert len(found) == 8002


def test_a_broker_that_stays_away_is_given_up_with_the_fate_of_everything_that_was_taken(
    own_rabbit: RabbitNode, tmp_path: Path
) -> None:
    site = site_on(BrokerVhost.create(own_rabbit, tmp_path))
    site.declare(EMAIL_QUEUE)
    taken: list[int] = []

    def kill_at(number: int) -> None:
        taken.append(number)
        if number == 1500:
            own_rabbit.kill()

    with publisher(site, timeout_seconds=4.0) as sender:
        started = time.monotonic()
        kinds, error = until_error(sender, mails(100_000, at=kill_at))
        assert time.monotonic() - started < 20
        assert isinstance(error, PublishUncertain)
        with pytest.raises(BrokerUnreachable) as caught:
            list(sender.stream(mails(1)))
    assert type(caught.value) is BrokerUnreachable, "nothing was written, so nothing is unknown"
    assert len(kinds) == len(taken) < 3000
    accepted, unknown = kinds.count(A), kinds.count(U)
    assert accepted > 500
    assert unknown > 0
    assert kinds == [A] * accepted + [U] * unknown + [FateKind.UNSENT] * (len(kinds) - accepted - unknown)


@pytest.mark.parametrize(
    ("alarm", "clear"),
    [
        (("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")),
        (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "50MB")),
    ],
    ids=["memory", "disk"],
)
def test_an_alarm_that_passes_delays_and_one_that_stays_ends_the_sending(
    own_rabbit: RabbitNode, tmp_path: Path, alarm: tuple[str, ...], clear: tuple[str, ...]
) -> None:
    site = site_on(BrokerVhost.create(own_rabbit, tmp_path))
    site.declare(EMAIL_QUEUE)

    def alarm_at(number: int) -> None:
        if number == 1200:
            own_rabbit.ctl(*alarm)

    with publisher(site, timeout_seconds=30.0) as sender:
        clearing = threading.Timer(4, own_rabbit.ctl, clear)
        clearing.start()
        fates = {fate for _, fate in sender.stream(mails(3000, at=alarm_at, kwargs=LARGE))}
        clearing.join(60)
    assert fates == {Fate(kind=A)}, "nothing was written twice"

    with publisher(site, timeout_seconds=4.0) as sender:
        kinds, error = until_error(sender, mails(50_000, at=alarm_at, kwargs=LARGE))
        own_rabbit.ctl(*clear)
    assert isinstance(error, PublishUncertain)
    assert "memory or disk alarm" in error.message
    assert kinds[:200] == [A] * 200
    assert kinds.count(U) <= 1000
    assert len(kinds) < 4000


def test_a_publisher_killed_in_the_middle_has_lost_nothing_of_what_it_knew(
    site: Site, tmp_path: Path
) -> None:
    site.declare(EMAIL_QUEUE)
    file = tmp_path / "fleet.toml"
    body = f"""
[hosts.alpha]
address = "127.0.0.2"

[queues.email]
tasks = ["fleet.send_mail", "shop.*"]

[workers.shared]
hosts = ["*"]
queues = ["email"]
metrics_port = {free_ports(1)[0]}
"""
    file.write_text(site.vhost.fleet_toml(body), encoding="utf-8")
    argv = (sys.executable, "-m", "tests.integration.sending.sender", str(file), "6000")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=clean_environ())
    assert process.stdout is not None
    known = [process.stdout.readline().strip() for _ in range(1500)]
    process.kill()
    known += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait(10)
    process.stdout.close()
    assert 1500 <= len(known) < 6000

    # Sent again by whoever does not know how far it came: the keys make the same ids.
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=clean_environ(), timeout=60)
    found = queued(site)
    assert set(known) <= {task_id for task_id, count in found.items() if count == 2}
    assert len(found) == 6000


def test_an_application_reads_what_became_of_each_of_its_tasks(site: Site) -> None:
    site.declare(EMAIL_QUEUE)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    calls = [TaskCall("shop.charge", {"order": n}, key=f"order-{n}", traceparent=trace) for n in range(3)]
    with Client(site.fleet) as client:
        deliveries = list(client.send_many(calls))
        assert client.send_many(iter(calls)).require_accepted() == 3
    assert [(delivery.accepted, delivery.queue) for delivery in deliveries] == [(True, "fleet.email")] * 3
    messages = site.messages(EMAIL_QUEUE.name)
    assert Counter(message.headers["id"] for message in messages) == {one.id: 2 for one in deliveries}
    stamped = messages[0]
    assert {"fleet_sent", "fleet_first", "fleet_key"} <= set(stamped.headers)
    assert stamped.headers["traceparent"] == trace
    assert abs(stamped.properties["timestamp"] - time.time()) < 60
