"""How fast are tasks sent, confirmed, beside Celery's own way on the same broker and queue? Interleaved."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Exchange, Queue

from fleet import Client, TaskCall
from tests.broker import BrokerVhost
from tests.integration.sending.topology import EMAIL_QUEUE, Site, site_on

ROUNDS = 7
#: tasks of one round, each way
MANY = 6000
EACH = 300
KWARGS = {"to": "ann@example.org", "template": "welcome", "context": {"name": "Ann", "text": "x" * 200}}
MOST_GROWTH_BYTES = 4 * 2**20
#: long enough that a leak of a few bytes for each task shows
FLAT_TASKS = int(os.environ.get("FLEET_BENCH_FLAT_TASKS", "60000"))


@pytest.fixture
def site(vhost: BrokerVhost) -> Site:
    made = site_on(vhost)
    # Bounded, so that what the rounds leave behind does not fill the broker's memory.
    made.declare(EMAIL_QUEUE, x_max_length=1000)
    return made


def celery_app(site: Site, *, confirms: bool) -> Any:
    app = Celery("bench", broker=site.vhost.url, set_as_current=False)
    exchange = Exchange("fleet.tasks", "topic")
    app.conf.task_queues = (Queue(EMAIL_QUEUE.name, exchange, routing_key=EMAIL_QUEUE.name, no_declare=True),)
    app.conf.task_default_queue = EMAIL_QUEUE.name
    app.conf.task_create_missing_queues = False
    app.conf.broker_transport_options = {"confirm_publish": confirms}
    return app


def per_second(send: Callable[[int], object], count: int) -> float:
    started = time.perf_counter()
    send(count)
    return count / (time.perf_counter() - started)


def never_run(**_: object) -> None:
    """Stand for the task; nobody consumes the queue."""


def apply_async(app: Any) -> Callable[[int], None]:
    task = app.task(never_run, name="fleet.send_mail", shared=False, ignore_result=True)
    # The stamps that a task of ours carries, as Celery's users would add them.
    stamps = {"fleet_sent": 1.5, "fleet_first": 1.5, "traceparent": f"00-{'1' * 32}-{'1' * 16}-00"}

    def send(count: int) -> None:
        for _ in range(count):
            task.apply_async(kwargs=KWARGS, mandatory=True, headers=stamps, timestamp=int(time.time()))

    return send


def calls(count: int) -> Iterator[TaskCall]:
    return (TaskCall("fleet.send_mail", KWARGS) for _ in range(count))


def test_sending_is_faster_than_celerys_own(site: Site) -> None:
    confirmed, unconfirmed = celery_app(site, confirms=True), celery_app(site, confirms=False)
    with Client(site.fleet) as client, closing(confirmed), closing(unconfirmed):

        def send_many(count: int) -> None:
            assert client.send_many(calls(count)).require_accepted() == count

        def send(count: int) -> None:
            for call in calls(count):
                client.send(call.task, call.kwargs)

        ways: dict[str, tuple[Callable[[int], object], int]] = {
            "Celery apply_async, confirmed": (apply_async(confirmed), EACH),
            "send": (send, EACH),
            "Celery apply_async, unconfirmed": (apply_async(unconfirmed), EACH * 2),
            "send_many": (send_many, MANY),
        }
        for way, _ in ways.values():
            way(20)
        rounds = [[per_second(*way) for way in ways.values()] for _ in range(ROUNDS)]
    medians = dict(zip(ways, map(median, zip(*rounds, strict=True)), strict=True))
    ratios = {name: median(row[place] / row[0] for row in rounds) for place, name in enumerate(ways)}
    print()
    for name, value in medians.items():
        print(f"{name}: {value:,.0f}/s, {ratios[name]:.2f} times confirmed apply_async")
    against_unconfirmed = median(row[3] / row[2] for row in rounds)
    print(f"send_many: {against_unconfirmed:.2f} times unconfirmed apply_async")
    assert ratios["send_many"] >= 8
    assert against_unconfirmed >= 1.5
    assert ratios["send"] >= 1


def test_memory_stays_flat_however_many_tasks_are_sent(site: Site) -> None:
    with Client(site.fleet) as client:
        assert client.send_many(calls(5000)).require_accepted() == 5000
        before = resident_bytes()
        started = time.perf_counter()
        assert client.send_many(calls(FLAT_TASKS)).require_accepted() == FLAT_TASKS
        seconds = time.perf_counter() - started
        growth = resident_bytes() - before
    print(f"\n{FLAT_TASKS:,} tasks in {seconds:.0f} s: {growth / 2**20:+.1f} MiB resident")
    assert growth < MOST_GROWTH_BYTES


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
