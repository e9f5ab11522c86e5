"""What may happen to an operator's command, and to a dead-letter queue of any size: nothing is lost."""

import json
import resource
import signal
import time

import pytest

from tests.integration.worker.conftest import Shop, eventually
from tests.integration.worker.letters import (
    DEAD_SHOP,
    Desk,
    audit,
    begin,
    lay,
    refused,
    taken_out,
    task_headers,
)
from tests.servers import RunFleet


@pytest.fixture
def desk(shop: Shop, run_fleet: RunFleet) -> Desk:
    return Desk(shop=shop, run_fleet=run_fleet)


def test_a_replay_that_is_killed_at_any_moment_loses_nothing_and_goes_on_when_run_again(desk: Desk) -> None:
    count, kills = 400, 4
    lay(desk.shop, [task_headers(number) | refused() for number in range(count)])
    desk.await_letters(count)
    for kill in range(1, kills + 1):
        replay = begin(desk, "replay", "--all", "--yes", "--rate", "500")
        wanted = 60 * kill
        eventually(lambda wanted=wanted: desk.ready() >= wanted, what="some replayed")  # type: ignore[misc]
        replay.kill()
        replay.communicate(timeout=10)
    desk.await_nobody()
    assert desk.ready() + desk.ready(DEAD_SHOP) >= count
    done = desk.json("replay", "--all", "--yes", "--rate", "5000")
    assert done["replayed"] > 0
    sent = taken_out(desk, "fleet.shop")
    assert sent.keys() == {f"letter-{number}" for number in range(count)}
    # A batch at this rate is 100 letters; each kill may leave one that is confirmed and not acknowledged.
    assert sent.total() - count <= kills * 100
    desk.await_letters(0)
    assert {line.split()[1] for line in audit(desk.shop.file)} == sent.keys()


def test_ctrl_c_ends_a_replay_after_what_has_begun_and_nothing_is_there_twice(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(100)])
    desk.await_letters(100)
    replay = begin(desk, "replay", "--all", "--yes", "--rate", "20", "--json")
    eventually(lambda: desk.ready() >= 4, what="some replayed")
    replay.send_signal(signal.SIGINT)
    told, talk = replay.communicate(timeout=30)
    assert (replay.returncode, talk.splitlines()[-1]) == (130, "interrupted")
    done = json.loads(told)["replayed"]
    assert 4 <= done < 100
    assert desk.ready() == done
    desk.await_letters(100 - done)


def test_ctrl_c_ends_a_replay_at_once_though_another_one_goes_on(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(100)])
    desk.await_letters(100)
    replay = begin(desk, "replay", "--all", "--yes", "--rate", "20", "--json")
    eventually(lambda: desk.ready() >= 4, what="some replayed")
    lay(desk.shop, [task_headers(100) | refused()])
    with desk.look() as other:
        held = next(other.letters())
        replay.send_signal(signal.SIGINT)
        # Where nobody wants the end, it waits for twenty seconds.
        told, talk = replay.communicate(timeout=10)
        assert (held.letter.task_id, replay.returncode, talk.splitlines()[-1]) == (
            "letter-100",
            130,
            "interrupted",
        )
    done = json.loads(told)["replayed"]
    assert "may be in fleet.shop.dlq again: the broker counts 1 consumers there still" in talk
    assert desk.ready() == done
    desk.await_letters(101 - done)


def test_a_message_that_fails_again_at_once_cannot_keep_a_replay_going(desk: Desk) -> None:
    desk.shop.start()
    lay(desk.shop, [task_headers(number, "probe.gone") | refused() for number in range(20)])
    desk.await_letters(20)
    done = desk.json("replay", "--all", "--yes", "--rate", "20")
    assert done["replayed"] == 20
    desk.await_letters(20)
    assert {line["replays"] for line in desk.list()} == {1}


def test_a_lost_connection_ends_the_command_and_running_it_again_finishes(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(60)])
    desk.await_letters(60)
    replay = begin(desk, "replay", "--all", "--yes", "--rate", "10")
    eventually(lambda: desk.ready() >= 2, what="some replayed")
    desk.shop.close_connections()
    _, talk = replay.communicate(timeout=60)
    assert replay.returncode == 5
    assert "before it failed; running it again is safe" in talk
    desk.await_nobody()
    assert desk.ready() + desk.ready(DEAD_SHOP) >= 60
    desk.run("replay", "--all", "--yes", "--rate", "5000")
    sent = taken_out(desk, "fleet.shop")
    assert (len(sent), sent.total() - len(sent) <= 2) == (60, True)


def test_many_letters_are_listed_counted_and_one_of_them_replayed_in_little_memory(desk: Desk) -> None:
    count = 20_000
    lay(desk.shop, [task_headers(number) | refused() for number in range(count)], body=b"x" * 2000)
    desk.await_letters(count)
    began = time.monotonic()
    assert len(desk.list()) == 100
    # A few letters are asked for and sent, and not all of them.
    assert time.monotonic() - began < 30
    desk.await_letters(count)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    (group,) = desk.json("list", "--count")
    assert (group["task"], group["count"]) == ("probe.ok", count)
    desk.await_letters(count)
    done = desk.json("replay", "--id", "letter-19999", "--yes")
    assert (done["replayed"], done["queues"][-1]["examined"] <= count) == (1, True)
    # Bodies alone are 40 MB; a worker that ran before may have taken more than a command does.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 110_000)
    desk.await_letters(count - 1)
    assert desk.ready() == 1


def test_a_message_whose_properties_cannot_be_read_is_seen_and_can_be_given_up(desk: Desk) -> None:
    desk.shop.start()
    web = desk.shop.publisher()
    web.publish(task_headers(1), correlation_id=b"\xff\xfe")
    web.close()
    desk.await_letters(1)
    (letter,) = desk.list()
    assert (letter["task_id"], letter["task"], letter["reason"]) == (None, None, "unknown")
    assert "not_a_task" in desk.run("replay", "--all", "--yes", code=1).stderr
    assert desk.json("discard", "--reason", "unknown", "--yes")["discarded"] == 1
    desk.await_letters(0)


def test_a_replay_does_not_carry_a_message_past_the_gate_that_refused_its_key(desk: Desk) -> None:
    web = desk.shop.publisher()
    web.publish(task_headers(1, "probe.sleep", CC=["fleet.slow.alpha"]), [[0], {}, {}])
    web.close()
    desk.shop.start("slow")
    desk.await_letters(1, queue="fleet.slow.dlq")
    done = desk.run("replay", "--queue", "slow", "--all", code=2)
    assert "exclude each other" in done.stderr
    done = desk.run("replay", "--queue", "slow", "--yes", code=1)
    assert "foreign_routing_key" in done.stderr
    assert not desk.shop.notes("start")
    desk.await_letters(1, queue="fleet.slow.dlq")
