"""The outbox against a real broker: what is kept arrives, in its order, whatever happens in between."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fleet import Client
from fleet.daemons.process import free_ports
from fleet.errors import BrokerRefused, OutboxBusy, PartlyDone, UsageError
from fleet.model import Node
from fleet.ops.outbox import open_outbox
from fleet.outbox import Outbox
from tests.integration.sending.proxy import Proxy
from tests.integration.sending.test_connections import through
from tests.integration.sending.topology import EMAIL_QUEUE, Site

ROOT = Path(__file__).parents[3]
MANY = 120
#: after how many messages the forwarders are killed, one after the other
KILLED_AFTER = (1, 2, 5, 13)

#: forwards the outbox of the fleet file at argv[1] over port argv[2], until done or killed
FORWARD = """
import sys
from dataclasses import replace
from fleet.fleetfile import read
from fleet.model import Node
from fleet.ops.outbox import forwarder, open_outbox
fleet = read(sys.argv[1])
broker = replace(fleet.broker, nodes=(Node(host="127.0.0.1", port=int(sys.argv[2])),))
with forwarder(replace(fleet, broker=broker), open_outbox(fleet, sys.argv[3]), {}) as run:
    done = run()
print(done.delivered, done.left)
"""


def away(site: Site) -> Site:
    """Return the site as it is seen while its broker does not answer."""
    broker = replace(site.fleet.broker, nodes=(Node(host="127.0.0.1", port=free_ports(1)[0]),))
    return replace(site, fleet=replace(site.fleet, broker=broker))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "box" / "outbox.sqlite3"


def client(site: Site, path: Path) -> Client:
    return Client(site.fleet, {}, outbox=path)


def keep(site: Site, path: Path, count: int, *, delay_seconds: float = 0) -> list[str]:
    """Send tasks to the site while its broker is away; return their ids."""
    with client(away(site), path) as sender:
        sent = [sender.send("shop.charge", {"n": n}, delay_seconds=delay_seconds) for n in range(count)]
    assert all(one.in_outbox for one in sent)
    return [one.id for one in sent]


def arrived(site: Site) -> list[str]:
    return [str(message.headers["id"]) for message in site.messages(EMAIL_QUEUE.name)]


def waiting(site: Site, path: Path) -> list[str]:
    return [kept.message.task_id for kept in Outbox(path, fleet=site.fleet.name).tasks()]


def forwarding(site: Site, path: Path, port: int) -> "subprocess.Popen[str]":
    """Start a process that forwards through ``port``."""
    file = site.vhost.write_fleet_toml()
    argv = (sys.executable, "-c", FORWARD, str(file), str(port), str(path))
    environ = {"PATH": os.environ["PATH"]}
    return subprocess.Popen(argv, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)


def test_what_was_kept_arrives_in_order_with_the_next_task(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, 5)
    with client(site, path) as sender:
        last = sender.send("shop.charge")
    assert not last.in_outbox
    assert arrived(site) == [*kept, last.id]


def test_a_program_forwards_by_itself_when_it_wants_to(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, 3)
    with client(site, path) as sender:
        done = sender.forward()
        assert sender.forward().delivered == 0
    assert (done.delivered, done.left, done.held, done.stopped) == (3, 0, (), None)
    assert arrived(site) == kept


def test_a_kept_task_says_when_it_was_first_sent(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    before = time.time()
    keep(site, path, 1)
    kept = time.time()
    with client(site, path) as sender:
        sender.forward()
    (message,) = site.messages(EMAIL_QUEUE.name)
    assert before <= message.headers["fleet_first"] <= kept <= message.headers["fleet_sent"]


def test_a_task_whose_confirm_never_came_is_kept_under_the_same_id(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    with (
        Proxy(site.vhost.node.port, cut=lambda sent: b"fleet_sent" in sent) as proxy,
        client(through(site, proxy.port), path) as sender,
    ):
        sent = sender.send("shop.charge")
    assert sent.in_outbox
    with client(site, path) as sender:
        sender.forward()
    assert set(arrived(site)) == {sent.id}


def test_a_queue_that_is_missing_holds_its_own_tasks_only(site: Site, path: Path) -> None:
    site.declare_all()
    with site.connection() as connection:
        connection.channel().queue_delete(EMAIL_QUEUE.name)
    kept = keep(site, path, 2)
    with client(away(site), path) as sender:
        (backup,) = sender.backup("etc")
    with client(site, path) as sender:
        done = sender.forward()
        assert [(held.task_id, "312 NO_ROUTE" in held.reason) for held in done.held] == [(kept[0], True)]
        assert (done.delivered, waiting(site, path)) == (1, kept)
        assert [message.headers["id"] for message in site.messages("fleet.backup.alpha")] == [backup.id]
        site.declare(EMAIL_QUEUE)
        assert sender.forward().delivered == 2
    assert arrived(site) == kept


def test_a_full_queue_holds_its_tasks_until_it_has_room(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE, x_max_length=2, x_overflow="reject-publish")
    kept = keep(site, path, 12)
    found: list[str] = []
    with client(site, path) as sender:
        while (done := sender.forward()).left:
            # A quorum queue lets some more in before it refuses.
            assert done.held
            taken = arrived(site)
            assert taken
            found += taken
    assert [*found, *arrived(site)] == kept


def test_a_login_that_is_refused_changes_nothing(site: Site, path: Path, tmp_path: Path) -> None:
    kept = keep(site, path, 2)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    password = replace(site.fleet.broker.password, name=str(wrong))  # type: ignore[type-var]
    fleet = replace(site.fleet, broker=replace(site.fleet.broker, password=password))
    with Client(fleet, {}, outbox=path) as sender, pytest.raises(BrokerRefused, match="refused"):
        sender.forward()
    assert waiting(site, path) == kept


def test_a_delay_that_is_over_by_then_is_no_delay(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, 1, delay_seconds=1)
    (task,) = Outbox(path, fleet=site.fleet.name).tasks()
    assert task.message.first_sent is not None
    due = task.message.first_sent + 1
    while (left := due - time.time()) > 0:
        time.sleep(left)
    with client(site, path) as sender:
        sender.forward()
    # No delay exchange is declared here: a delayed message would have been refused.
    assert arrived(site) == kept


def test_some_of_several_tasks_can_be_refused_by_a_full_outbox(site: Site, path: Path) -> None:
    outbox = open_outbox(site.fleet, str(path))
    outbox.set_limits(replace(outbox.backlog().limits, messages=1))
    (site.vhost.directory / "welcome.subject.txt").write_text("Welcome")
    (site.vhost.directory / "welcome.txt").write_text("Hello")
    with client(away(site), path) as sender, pytest.raises(PartlyDone, match="1 of 2 tasks were not queued"):
        sender.mails(["a@example.org", "b@example.org"], "welcome")
    assert len(waiting(site, path)) == 1


def test_a_forwarder_that_is_killed_after_a_publish_loses_nothing(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, 5)
    processes: list[subprocess.Popen[str]] = []

    def kill_at_third(sent: bytes) -> bool:
        """Called when the broker has the message, and its confirm is still on its way."""
        if kept[2].encode() in sent:
            processes[0].send_signal(signal.SIGKILL)
            processes[0].wait(10)
        return False

    with Proxy(site.vhost.node.port, cut=kill_at_third) as proxy:
        processes.append(forwarding(site, path, proxy.port))
        with closing(processes[0].stdout):  # type: ignore[type-var]
            assert processes[0].wait(60) == -signal.SIGKILL
    assert waiting(site, path) == kept[2:]
    with client(site, path) as sender:
        sender.forward()
    assert arrived(site) == [*kept[:3], *kept[2:]]


def test_a_forwarder_that_is_killed_again_and_again_gets_there(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, MANY)
    for at_most in KILLED_AFTER:
        process = forwarding(site, path, site.vhost.node.port)
        before = len(waiting(site, path))
        while process.poll() is None and before - len(waiting(site, path)) < at_most:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    with client(site, path) as sender:
        sender.forward()
    found = arrived(site)
    assert list(dict.fromkeys(found)) == kept
    assert len(found) - MANY <= len(KILLED_AFTER)


def test_two_forwarders_at_once_neither_repeat_nor_reorder(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, MANY)
    process = forwarding(site, path, site.vhost.node.port)
    try:
        with client(site, path) as sender:
            while process.poll() is None:
                with suppress(OutboxBusy):
                    sender.forward()
    finally:
        process.communicate(timeout=60)
    assert arrived(site) == kept


def test_new_tasks_do_not_overtake_those_that_another_process_forwards(site: Site, path: Path) -> None:
    site.declare(EMAIL_QUEUE)
    kept = keep(site, path, MANY)
    process = forwarding(site, path, site.vhost.node.port)
    new: list[str] = []
    try:
        with client(site, path) as sender:
            while process.poll() is None:
                new.append(sender.send("shop.charge").id)
    finally:
        process.communicate(timeout=60)
    with client(site, path) as sender:
        sender.forward()
    assert arrived(site) == [*kept, *new]


def test_many_tasks_at_once_are_refused_by_a_client_with_an_outbox(site: Site, path: Path) -> None:
    with client(site, path) as sender, pytest.raises(UsageError, match="would overtake") as caught:
        sender.send_many([])
    assert caught.value.hint == "send one by one, or with a client that has no outbox"
