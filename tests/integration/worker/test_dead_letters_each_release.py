"""Dead letters on each RabbitMQ release: what they say, and that no look or burst loses or revives one."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.letters.look import Look
from tests.broker import BrokerNode, BrokerVhost
from tests.hosts.lab.brokers import RELEASES
from tests.hosts.lab.system import machine_suite
from tests.integration.worker.conftest import eventually, shops
from tests.integration.worker.letters import (
    DEAD_SHOP,
    Desk,
    admin,
    audit,
    begin,
    lay,
    refused,
    taken_out,
    task_headers,
)
from tests.servers import Provisioned, RunFleet, StartWorker

#: the release that the other tests of dead letters do not run on, and theirs
OTHER = [name for name, release in RELEASES.items() if release.suite != machine_suite()]
OWN = [name for name in RELEASES if name not in OTHER]
#: more than the 20 deliveries after which RabbitMQ 4.0 by itself ends a message
LOOKS = 22
BURSTS, LETTERS = 10, 250


@pytest.fixture
def make_desk(
    each_broker: BrokerNode, run_fleet: RunFleet, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Callable[..., Desk]]:
    there = Provisioned(vhost=BrokerVhost.name_only(each_broker, tmp_path), run_fleet=run_fleet)
    try:
        with shops(there, start_worker, tmp_path) as make:
            yield lambda *hosts, **options: Desk(shop=make(*hosts, **options), run_fleet=run_fleet)
    finally:
        there.vhost.delete()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def acknowledge_all_but_fifths(look: Look) -> None:
    for number, held in enumerate(look.letters()):
        if number % 5:
            look.acknowledge(held)


@pytest.mark.parametrize("release", OTHER)
def test_letters_are_listed_explained_copied_replayed_and_given_up(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(delivery_limit=1)
    desk.shop.start()
    failed, died = desk.shop.send("probe.fail"), desk.shop.send("probe.die")
    unknown = desk.shop.send("probe.gone", queue="shop")
    desk.await_letters(3)
    reasons = {line["task_id"]: (line["reason"], line["error"], line["origin"]) for line in desk.list()}
    assert reasons == {
        failed: ("rejected", "ValueError", "fleet.shop"),
        died: ("delivery_limit", "WorkerLostError", "fleet.shop"),
        unknown: ("unknown_task", None, "fleet.shop"),
    }
    (shown,) = desk.json("show", died)
    (death,) = shown["deaths"]
    assert (death["queue"], death["reason"], death["count"]) == ("fleet.shop", "delivery_limit", 1)
    assert (death["exchange"], death["routing_keys"]) == ("fleet.tasks", ["fleet.shop"])
    assert death["time"] >= shown["first_sent"] - 2
    assert [run["outcome"] for run in shown["history"]] == ["lost"] * 2

    desk.run("export", "--output", "copy.jsonl")
    copies = [json.loads(line) for line in (desk.shop.file.parent / "copy.jsonl").read_text().splitlines()]
    assert {copy["task_id"] for copy in copies} == {failed, died, unknown}

    for act in ("replay", "discard"):
        assert "no dead letter of task id `none`" in desk.run(act, "--id", "none", "--yes", code=1).stderr
    done = desk.json("replay", "--all", "--yes")
    assert (done["replayed"], done["queues"][0]["doubt"]) == (3, None)
    desk.shop.expect("fail", times=2)
    # A replayed message has all its deliveries again, and is here again with what became of it.
    desk.shop.expect("die", times=4)
    desk.await_letters(3)
    assert {line["task_id"]: line["replays"] for line in desk.list()} == dict.fromkeys(reasons, 1)
    done = desk.json("replay", "--all", "--max-replays", "1", "--dry-run")
    assert done["queues"][0]["hindered"] == {"replayed_too_often": 3}
    assert desk.json("discard", "--all", "--yes")["discarded"] == 3
    desk.await_letters(0)
    assert len(audit(desk.shop.file)) == 6


def test_no_acknowledgement_of_a_burst_is_dropped_at_the_end(desk: Desk) -> None:
    for _ in range(BURSTS):
        lay(desk.shop, [task_headers(number) | refused() for number in range(LETTERS)])
        desk.await_letters(LETTERS)
        with desk.look() as look:
            acknowledge_all_but_fifths(look)
        assert look.doubt is None
        desk.await_nobody()
        assert taken_out(desk, DEAD_SHOP).total() == LETTERS / 5


def test_letters_survive_any_number_of_looks_that_are_cut_off(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(30)])
    desk.await_letters(30)
    for _ in range(LOOKS):
        look = desk.look()
        assert len(list(look.letters())) == 30
        # The socket is closed as by a kill: nobody says good-bye to the broker.
        look._connection.collect()
        desk.await_letters(30)
    (line, *_) = desk.list()
    assert (line["replays"], line["reason"]) == (0, "unknown_task")
    replay = begin(desk, "replay", "--all", "--yes", "--rate", "10")
    eventually(lambda: desk.ready() >= 2, what="some replayed")
    replay.send_signal(signal.SIGKILL)
    replay.communicate(timeout=10)
    desk.await_nobody()
    desk.run("replay", "--all", "--yes", "--rate", "5000")
    sent = taken_out(desk, "fleet.shop")
    assert sent.keys() == {f"letter-{number}" for number in range(30)}
    assert sent.total() - 30 <= 2


@pytest.mark.parametrize("release", OWN)
def test_a_task_of_the_next_release_runs_once_when_it_is_replayed_to_a_worker_that_knows_it(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk("alpha", "beta")
    old = desk.shop.start("shared", host="alpha")
    task_id = desk.shop.send("probe.added", "early", queue="shop")
    desk.await_letters(1)
    # Replayed too early, it comes back.
    assert desk.json("replay", "--reason", "unknown_task", "--yes")["replayed"] == 1
    desk.await_letters(1)
    (line,) = desk.list()
    assert (line["task_id"], line["reason"], line["replays"]) == (task_id, "unknown_task", 1)
    assert "no code for task `probe.added`" in line["detail"]
    desk.shop.start("shared", host="beta", PROBE_RELEASE="2")
    old.stop()
    assert desk.json("replay", "--reason", "unknown_task", "--yes")["replayed"] == 1
    desk.shop.expect("added", "early")
    eventually(lambda: desk.shop.depth("fleet.shop") == 0, what="acknowledged")
    assert desk.shop.notes("added") == [["added", "early"]]
    desk.await_letters(0)


def test_a_queue_that_is_too_busy_to_be_counted_is_not_taken_for_an_empty_one(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(3)])
    desk.await_letters(3)
    leader = f"'{desk.shop.vhost.name}_{DEAD_SHOP}'"
    hold = f"sys:suspend({leader}), timer:apply_after(2000, sys, resume, [{leader}])."
    desk.shop.vhost.node.ctl("eval", hold)
    connection = admin(desk.shop)
    try:
        there = connection.channel().queue_declare(DEAD_SHOP, passive=True)
        assert (there.message_count, there.consumer_count) == (0, 0)
        with desk.look() as look:
            assert len(list(look.letters())) == look.size == 3
    finally:
        connection.close()
    desk.await_letters(3)
