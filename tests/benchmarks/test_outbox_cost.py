"""What does the outbox cost for each task, beside a confirmed send to the broker? Interleaved."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from fleet import Client
from fleet.daemons.process import free_ports
from fleet.model import Node
from fleet.outbox.file import settled_state
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on
from tests.integration.worker.conftest import eventually

ROUNDS = 5
#: tasks of one round, each way
EACH = 100
KWARGS = {"to": "ann@example.org", "template": "welcome", "context": {"name": "Ann", "text": "x" * 200}}


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    made = site_on(vhost)
    # Bounded, so that what the rounds leave behind does not fill the broker's memory.
    made.declare(EMAIL_QUEUE, x_max_length=1000)
    return made


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_an_outbox_that_is_not_needed_costs_little(site: Site, tmp_path: Path) -> None:
    (dead_port,) = free_ports(1)
    broker = replace(site.fleet.broker, nodes=(Node(host="127.0.0.1", port=dead_port),))
    nobody = replace(site.fleet, broker=broker)
    busy, quiet = tmp_path / "busy" / "outbox.sqlite3", tmp_path / "quiet" / "outbox.sqlite3"
    with Client(nobody, {}, outbox=quiet) as once:
        once.send("fleet.send_mail", KWARGS)
    with (
        Client(site.fleet) as plain,
        Client(site.fleet, {}, outbox=quiet) as careful,
        Client(nobody, {}, outbox=busy) as cut_off,
        Client(site.fleet, {}, outbox=busy) as forwarder,
    ):

        def send(client: Client) -> None:
            for _ in range(EACH):
                client.send("fleet.send_mail", KWARGS)

        def forward() -> None:
            assert forwarder.forward().delivered == EACH

        ways: dict[str, Callable[[], object]] = {
            "confirmed send": lambda: send(plain),
            "the same with an empty outbox": lambda: send(careful),
            "kept while no broker answers": lambda: send(cut_off),
            "forwarded": forward,
        }
        for work in ways.values():
            work()
        # Just after a change a look at the file cannot tell whether there was another one.
        eventually(lambda: settled_state(quiet) is not None, what="the outbox is at rest")
        rounds = [[seconds(work) for work in ways.values()] for _ in range(ROUNDS)]
    print()
    for place, name in enumerate(ways):
        cost = median(row[place] for row in rounds) / EACH * 1000
        ratio = median(row[place] / row[0] for row in rounds)
        print(f"{name}: {cost:.2f} ms for each task, {ratio:.2f} times a confirmed send")
    assert median(row[1] / row[0] for row in rounds) <= 1.5
