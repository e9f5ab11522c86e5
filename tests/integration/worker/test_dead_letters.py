"""Dead letters of real workers on a real broker: seen, told apart, replayed, given up."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.worker.conftest import ENVIRON, Shop, eventually
from tests.integration.worker.letters import DEAD_SHOP, Desk, audit, lay, refused, task_headers
from tests.servers import RunFleet


@pytest.fixture
def desk(shop: Shop, run_fleet: RunFleet) -> Desk:
    return Desk(shop=shop, run_fleet=run_fleet)


def test_a_letter_says_what_failed_where_and_whence_and_none_of_its_arguments(desk: Desk) -> None:
    desk.shop.start()
    failed = desk.shop.send("probe.fail", "hunter2")
    web = desk.shop.publisher()
    web.publish({"id": "forbidden-1", "task": "fleet.backup"}, ([], {"password": "hunter2"}, {}))
    web.close()
    desk.await_letters(2)
    by_id = {line["task_id"]: line for line in desk.list()}
    letter = by_id[failed]
    assert letter["task"] == "probe.fail"
    assert (letter["reason"], letter["error"], letter["host"]) == ("rejected", "ValueError", "alpha")
    assert (letter["origin"], letter["dead_letter_queue"]) == ("fleet.shop", DEAD_SHOP)
    assert letter["died"] is not None
    forbidden = by_id["forbidden-1"]
    assert (forbidden["reason"], forbidden["host"]) == ("not_allowed", "alpha")
    assert forbidden["detail"] == "queue `shop` does not allow task `fleet.backup`"
    for shown in (desk.run("list"), desk.run("list", "--json"), desk.run("show", failed)):
        assert "hunter2" not in shown.stdout + shown.stderr
    # Looked at so often, and still there.
    assert desk.ready(DEAD_SHOP) == 2


def test_arguments_are_shown_on_request_masked_unless_that_is_asked_for_too(desk: Desk) -> None:
    lay(desk.shop, [task_headers(1) | refused()], body=b'[["x"], {"password": "hunter2"}, {}]')
    (letter,) = desk.json("show", "letter-1")
    assert "arguments" not in letter
    (letter,) = desk.json("show", "letter-1", "--arguments")
    assert letter["arguments"] == {"args": ["'x'"], "kwargs": {"password": "***"}}
    (letter,) = desk.json("show", "letter-1", "--unmasked")
    assert letter["arguments"] == {"args": ["x"], "kwargs": {"password": "hunter2"}}


def test_the_history_of_a_task_that_kills_its_child_names_every_attempt(
    make_shop: Callable[..., Shop], run_fleet: RunFleet
) -> None:
    desk = Desk(shop=make_shop("alpha", delivery_limit=2), run_fleet=run_fleet)
    desk.shop.start()
    task_id = desk.shop.send("probe.die")
    desk.await_letters(1)
    (letter,) = desk.json("show", task_id)
    assert letter["reason"] == "delivery_limit"
    assert [(run["outcome"], run["host"]) for run in letter["history"]] == [("lost", "alpha")] * 3
    assert (letter["error"], letter["host"]) == ("WorkerLostError", "alpha")


def test_a_letter_whose_message_the_broker_has_delayed_before_is_known_to_be_of_its_queue(desk: Desk) -> None:
    desk.shop.start()
    task_id = desk.shop.send("probe.later", 9)
    desk.await_letters(1)
    (letter,) = desk.list()
    assert (letter["task_id"], letter["origin"], letter["retries"]) == (task_id, "fleet.shop", 1)
    assert letter["error"] == "RetriesExhausted"
    desk.run("replay", "--all", "--yes")
    # All its attempts again, and then here again.
    desk.shop.expect("later", times=4)
    desk.await_letters(1)
    (letter,) = desk.list()
    assert (letter["origin"], letter["retries"], letter["replays"]) == ("fleet.shop", 1, 1)


def test_what_a_stranger_writes_is_shown_as_it_is_and_garbles_no_table(desk: Desk) -> None:
    lay(desk.shop, [task_headers(1, "[/red] :boom: [bold]x") | refused(fleet_refused_detail="\x1b[2Jgone")])
    desk.await_letters(1)
    shown = desk.run("list").stdout
    assert "[/red] :boom: [bold]x" in shown
    assert "\x1b" not in shown


def test_half_characters_and_names_that_are_no_text_keep_no_letter_from_being_copied_or_shown(
    desk: Desk,
) -> None:
    body = b'[["\\ud800", "\\u009b2J"], {}, {}]'
    odd: dict[Any, object] = {b"\xff": 1, "note": {"inner": ["\ud800"]}}
    lay(desk.shop, [task_headers(1) | refused() | odd], body=body)
    desk.await_letters(1)
    (line,) = desk.run("export", "--output", "-").stdout.splitlines()
    assert json.loads(line)["headers"]["\\xff"] == 1
    assert json.loads(line)["headers"]["note"] == {"inner": ["\ud800"]}
    (letter,) = desk.json("show", "letter-1", "--unmasked")
    assert letter["arguments"]["args"] == ["\ud800", "\x9b2J"]
    shown = desk.run("show", "letter-1", "--unmasked").stdout
    assert r'arguments: {"args": ["\ud800", "\x9b2J"]' in shown


def test_letters_are_selected_by_queue_task_reason_age_exception_and_id(desk: Desk) -> None:
    desk.shop.start()
    failed = desk.shop.send("probe.fail")
    desk.await_letters(1)
    lay(desk.shop, [task_headers(1, "probe.old") | refused()])
    desk.await_letters(2)

    def ids(*options: str) -> list[str]:
        return sorted(line["task_id"] for line in desk.list(*options))

    assert ids() == sorted([failed, "letter-1"])
    assert ids("--queue", "slow") == []
    assert ids("--queue", "shop", "--task", "probe.o*") == ["letter-1"]
    assert ids("--reason", "rejected") == [failed]
    assert ids("--older-than", "1h") == ["letter-1"]
    assert ids("--newer-than", "1h") == [failed]
    assert ids("--exception", "Value*") == [failed]
    assert ids("--exception", "KeyError") == []
    assert ids("--id", "letter-1") == ["letter-1"]
    counts = desk.json("list", "--count")
    assert sorted((group["task"], group["error"], group["count"]) for group in counts) == [
        ("probe.fail", "ValueError", 1),
        ("probe.old", None, 1),
    ]


def test_a_replayed_letter_passes_the_gate_again_and_its_task_runs_with_the_very_same_body(
    desk: Desk,
) -> None:
    body = '[["ünïcode"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    lay(desk.shop, [task_headers(1) | refused(), task_headers(2, "fleet.backup") | refused()])
    lay(desk.shop, [task_headers(3) | refused()], body=body.encode())
    desk.await_letters(3)
    desk.shop.start()
    done = desk.json("replay", "--all", "--yes")
    assert done["replayed"] == 3
    desk.shop.expect("ok", "ok")
    desk.shop.expect("ok", "ünïcode")
    # What may not run from this queue is here again, and counted.
    desk.await_letters(1)
    (letter,) = desk.list()
    assert (letter["task_id"], letter["reason"], letter["replays"]) == ("letter-2", "not_allowed", 1)
    assert sorted(audit(desk.shop.file)) == [f"replayed letter-{number}" for number in (1, 2, 3)]


def test_a_letter_that_keeps_coming_back_is_refused_unless_told_otherwise(desk: Desk) -> None:
    lay(desk.shop, [task_headers(1) | refused(fleet_replays=3), task_headers(2) | refused(fleet_replays=2)])
    desk.await_letters(2)
    looked = desk.json("replay", "--all", "--dry-run")
    assert looked["replayed"] == 1
    assert looked["queues"][0]["hindered"] == {"replayed_too_often": 1}
    assert desk.ready() == 0
    done = desk.run("replay", "--all", "--yes", code=3)
    assert "1 stay where they are (replayed_too_often)" in done.stderr
    assert "hint:" in done.stderr
    desk.run("replay", "--id", "letter-1", "--max-replays", "4", "--yes")
    assert desk.ready() == 2
    desk.await_letters(0)


def test_nothing_is_sent_into_a_queue_that_it_did_not_come_from_by_its_own_key(desk: Desk) -> None:
    strangers = {
        "no_origin": refused("fleet.slow.alpha"),
        "foreign_routing_key": refused(fleet_refused_routing_key="fleet.slow.alpha"),
        "expired": refused() | {"expires": "2020-01-01T00:00:00+00:00"},
    }
    lay(desk.shop, [task_headers(number) | more for number, more in enumerate(strangers.values())])
    lay(desk.shop, [{"greeting": "hello"}], body=b"\xff no task at all")
    desk.await_letters(4)
    done = desk.run("replay", "--all", "--yes", "--json", code=1)
    (_, report) = sorted(json.loads(done.stdout)["queues"], key=lambda queue: queue["examined"])
    assert report["hindered"] == dict.fromkeys([*strangers, "not_a_task"], 1)
    assert desk.ready() == desk.ready("fleet.slow.alpha") == 0
    desk.await_letters(4)


def test_on_a_terminal_it_is_asked_first_with_the_number_and_no_means_no(desk: Desk) -> None:
    lay(desk.shop, [task_headers(1) | refused(), task_headers(2) | refused(fleet_replays=3)])
    desk.await_letters(2)
    said_no = desk.answer("n\n", "replay", "--queue", "shop", code=1)
    assert "1 dead letters would be replayed; do it?" in said_no
    assert "not confirmed; nothing was done" in said_no
    assert (desk.ready(), desk.ready(DEAD_SHOP)) == (0, 2)
    desk.answer("y\n", "replay", "--queue", "shop", code=3)
    assert (desk.ready(), desk.ready(DEAD_SHOP)) == (1, 1)


def test_a_replay_keeps_to_its_rate(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(30)])
    desk.await_letters(30)
    done = desk.run("replay", "--all", "--yes", "--rate", "15")
    seconds = float(done.stderr.rsplit(" in ", 1)[1].split()[0])
    assert 1.7 <= seconds < 20
    assert desk.ready() == 30


def test_discarded_letters_are_gone_and_noted_and_a_copy_was_kept(desk: Desk) -> None:
    lay(desk.shop, [task_headers(1) | refused(), task_headers(2) | refused()], body=b"\xff\xfe")
    desk.await_letters(2)
    desk.run("discard", code=2)
    desk.run("discard", "--all", code=2)
    desk.run("export", "--queue", "shop", "--output", "copy.jsonl")
    copy = desk.shop.file.parent / "copy.jsonl"
    assert copy.stat().st_mode & 0o777 == 0o600
    letters = [json.loads(line) for line in copy.read_text().splitlines()]
    assert {(letter["task_id"], letter["body_base64"]) for letter in letters} == {
        ("letter-1", "//4="),
        ("letter-2", "//4="),
    }
    assert "exists already" in desk.run("export", "--output", "copy.jsonl", code=2).stderr
    desk.await_letters(2)
    assert desk.json("discard", "--id", "letter-2", "--yes")["discarded"] == 1
    desk.await_letters(1)
    assert audit(desk.shop.file) == ["discarded letter-2"]


def test_what_another_operator_holds_is_dealt_with_once(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(10)])
    desk.await_letters(10)
    with desk.look() as look:
        held = look.letters(at_most=4)
        for _ in range(4):
            next(held)
        shown = desk.run("list", "--json")
        listing = json.loads(shown.stdout)
        assert (len(listing["lines"]), listing["shared"]) == (6, [DEAD_SHOP])
        done = desk.json("replay", "--all", "--yes", "--rate", "1000")
        doubts = {report["dead_letter_queue"]: report["doubt"] for report in done["queues"]}
        assert done["replayed"] == 6
        assert "counts 1 consumers there still" in doubts.pop(DEAD_SHOP)
        assert set(doubts.values()) == {None}
    desk.await_letters(4)
    assert desk.json("replay", "--all", "--yes", "--rate", "1000")["replayed"] == 4
    assert desk.ready() == 10


def test_a_full_queue_ends_a_replay_and_the_rest_stays(desk: Desk) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(5)])
    desk.await_letters(5)
    name = desk.shop.vhost.name
    policy = {
        "pattern": "^fleet[.]shop$",
        "apply-to": "queues",
        "priority": 99,
        "definition": {"max-length": 1, "overflow": "reject-publish"},
    }
    desk.shop.vhost.api("PUT", f"policies/{name}/full", policy)
    done = desk.run("replay", "--all", "--yes", "--rate", "2", code=3)
    assert "stopped: fleet.shop: negative confirm" in done.stderr
    assert desk.ready(DEAD_SHOP) + desk.ready() == 5


@pytest.mark.parametrize("rate", ["2", "500"])
def test_a_letter_over_which_the_channel_is_closed_is_named_alone_or_among_others(
    desk: Desk, rate: str
) -> None:
    lay(desk.shop, [task_headers(number) | refused() for number in range(3)])
    desk.await_letters(3)
    name = desk.shop.vhost.name
    permission = {"exchange": "fleet.tasks", "write": "^nothing$", "read": ".*"}
    desk.shop.vhost.api("PUT", f"topic-permissions/{name}/operator-web-{name}", permission)
    done = desk.run("replay", "--all", "--yes", "--rate", rate, "--json", code=1)
    assert "ACCESS_REFUSED" in done.stderr
    (report,) = json.loads(done.stdout)["queues"]
    assert (report["done"], report["stopped"].endswith("(letter letter-0)")) == (0, True)
    desk.await_letters(3)


def test_a_publisher_or_a_worker_may_not_touch_dead_letters(desk: Desk) -> None:
    for user in (f"web-{desk.shop.vhost.name}", desk.shop.vhost.user):
        done = desk.run("list", "--user", user, code=1)
        assert "error:" in done.stderr
    assert "role `operator`" in desk.run("list", "--user", desk.shop.vhost.user, code=1).stderr


def test_a_full_dead_letter_queue_drops_nothing(desk: Desk) -> None:
    text = desk.shop.file.read_text()
    desk.shop.file.write_text(text.replace("[queues.shop]", "[queues.shop]\nmax_dead_letters = 3"))
    done = desk.run_fleet("provision", "broker", "--yes", file=desk.shop.file, env=ENVIRON)
    assert done.returncode == 0, done.stderr
    count = 30
    for _ in range(count):
        desk.shop.send("probe.fail")
    desk.shop.start()
    desk.shop.expect("fail", times=count)
    # What has no room stays where it died, and is tried again every three minutes.
    eventually(
        lambda: desk.shop.depth(DEAD_SHOP) + desk.shop.depth("fleet.shop") == count,
        what="each message in one of the two queues",
    )
    assert 3 <= desk.ready(DEAD_SHOP) < count
    assert desk.ready() == 0
