"""How runs end on a real broker: retried, dead-lettered, killed, or done."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import amqp

from tests.integration.worker.conftest import Shop, eventually


def reasons(message: dict[str, object]) -> list[str]:
    headers = message["properties"]["headers"]  # type: ignore[index]
    return [death["reason"] for death in headers["x-death"]]


def test_runs_end_as_succeeded_failed_retried_or_given_up(shop: Shop) -> None:
    shop.start()
    shop.send("probe.ok", "hello")
    failed = shop.send("probe.fail")
    shop.send("probe.flaky", 1)
    given_up = shop.send("probe.later", 9, queue="shop")
    shop.expect("ok", "hello")
    shop.expect("flaky", "1")
    letters = shop.dead_letters("shop", at_least=2)

    assert {letter["properties"]["headers"]["id"] for letter in letters} == {failed, given_up}
    assert all("rejected" in reasons(letter) for letter in letters)
    assert shop.notes("later") == [["later", "0", "fleet.shop"], ["later", "1", "fleet.shop"]]
    ended = {
        outcome: shop.metric("shared", "fleet_tasks_finished_total", outcome=outcome)
        for outcome in ("succeeded", "failed", "retried", "retries_exhausted")
    }
    assert ended == {"succeeded": 2, "failed": 1, "retried": 2, "retries_exhausted": 1}
    eventually(lambda: shop.depth("fleet.shop") == 0)


def test_a_retry_from_a_hosts_own_queue_goes_back_to_it(shop: Shop) -> None:
    shop.start("slow")
    shop.send("probe.later", 1, queue="slow", host="alpha")
    shop.expect("later", "1", "fleet.slow.alpha")
    eventually(lambda: shop.depth("fleet.slow.alpha") == 0)
    assert shop.metric("slow", "fleet_tasks_finished_total", outcome="succeeded") == 1


def test_a_retry_keeps_its_key_and_its_first_stamp_and_is_stamped_anew(shop: Shop) -> None:
    shop.start("slow")
    shop.send("probe.later", 1, queue="slow", host="alpha", key="order-7")
    shop.expect("stamps", times=2)
    (_, key, first, sent), (_, later_key, later_first, later_sent) = shop.notes("stamps")
    assert key == later_key == "order-7"
    assert first == later_first == sent
    assert float(later_sent) > float(sent)


def test_a_task_that_kills_its_child_runs_again_up_to_the_delivery_limit(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(delivery_limit=2)
    shop.start()
    shop.send("probe.die")
    (letter,) = shop.dead_letters("shop", at_least=1, seconds=30)
    assert reasons(letter) == ["delivery_limit"]
    assert len(shop.notes("die")) == 3
    eventually(lambda: shop.metric("shared", "fleet_tasks_finished_total", outcome="lost") == 3)


def test_a_task_that_only_the_next_release_knows_waits_as_a_dead_letter_and_runs_when_sent_again(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop("alpha", "beta")
    old = shop.start("shared", host="alpha")
    task_id = shop.send("probe.added", "early", queue="shop")
    with closing(shop.admin_connection()) as connection:
        channel = connection.channel()
        letter = eventually_some(lambda: channel.basic_get("fleet.shop.dlq"))
        headers = letter.headers
        assert (headers["id"], headers["task"]) == (task_id, "probe.added")
        assert headers["fleet_refused_reason"] == "unknown_task"
        assert "no code for task `probe.added`" in headers["fleet_refused_detail"]
        assert old.is_alive()

        shop.start("shared", host="beta", PROBE_RELEASE="2")
        old.stop()
        exchange, key = headers["fleet_refused_exchange"], headers["fleet_refused_routing_key"]
        channel.basic_publish(amqp.Message(letter.body, **letter.properties), exchange, key)
        shop.expect("added", "early")


def eventually_some(get: Callable[[], Any]) -> Any:
    """Call ``get`` until it returns something, and return that."""
    found: list[Any] = []

    def look() -> bool:
        found.append(get())
        return found[-1] is not None

    eventually(look)
    return found[-1]


def test_a_task_beyond_its_queues_limit_is_killed_and_dead_lettered_at_once_whatever_its_message_asks(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(max_runtime="1s")
    shop.start()
    shop.send("probe.sleep", 30, queue="shop")
    web = shop.publisher()
    lifted = {"lang": "py", "task": "probe.sleep", "id": "1", "timelimit": [9999, 9999]}
    web.publish(lifted, [[30], {}, {}])
    web.close()
    letters = shop.dead_letters("shop", at_least=2)
    assert [reasons(letter) for letter in letters] == [["rejected"], ["rejected"]]
    assert len(shop.notes("start")) == 2
    assert not shop.notes("end")
    assert shop.metric("shared", "fleet_tasks_finished_total", outcome="timed_out") == 2


def test_a_task_of_an_app_of_the_operators_own_runs_as_one_of_the_fleets(shop: Shop) -> None:
    shop.start()
    shop.send("probe.own")
    shop.expect("own", "FleetCelery", "probe.own")


def test_a_task_sends_another_by_the_fleet_files_table(shop: Shop) -> None:
    shop.start()
    shop.send("probe.send", "probe.ok", "sent by a task")
    shop.expect("ok", "sent")
