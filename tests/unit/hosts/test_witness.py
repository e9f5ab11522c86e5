"""Which consumers are missing, and how long that is borne."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.doctor.unseen import Unseen
from fleet.ops import witness
from fleet.ops.witness import Consumers, Witness, missing
from provisioning.errors import HostChangeFailed

NODES = st.sampled_from(["mail-a@alpha", "mail-b@alpha", "mail-a@beta"])
QUEUES = st.sampled_from(["fleet.email", "fleet.backup.alpha"])
WANTED = st.dictionaries(NODES, st.frozensets(QUEUES))
MAIL = {"mail-b@alpha": frozenset({"fleet.email"})}


@given(WANTED, st.frozensets(st.tuples(NODES, QUEUES)))
def test_nothing_is_missing_only_where_each_node_consumes_each_of_its_queues(
    wanted: dict[str, frozenset[str]], seen: Consumers
) -> None:
    whole = all((node, queue) in seen for node, queues in wanted.items() for queue in queues)
    assert (missing(wanted, seen) == ()) is whole


def test_the_old_instance_does_not_stand_for_the_new_one() -> None:
    assert missing(MAIL, frozenset({("mail-a@alpha", "fleet.email")})) == ("`mail-b@alpha` on `fleet.email`",)


def test_one_that_is_seen_late_is_waited_for() -> None:
    looks = iter((frozenset(), frozenset({("mail-b@alpha", "fleet.email")})))
    assert Witness(look=lambda: next(looks), limit_seconds=5).await_consumers("alpha", MAIL) == ()


def test_one_that_is_not_seen_in_time_is_named() -> None:
    with pytest.raises(HostChangeFailed, match=r"shows no consumer of `mail-b@alpha` on `fleet.email`, 0 s"):
        Witness(look=frozenset, limit_seconds=0).await_consumers("alpha", MAIL)


def test_an_api_that_does_not_answer_is_said_and_stops_nothing() -> None:
    def look() -> Consumers:
        raise Unseen("mq1 does not answer")

    (note,) = Witness(look=look).await_consumers("alpha", MAIL)
    assert "was not checked: mq1 does not answer" in note


def test_hosts_that_wait_at_once_share_a_look_that_began_after_each_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on, looks, times = threading.Event(), list[Consumers](), queue.SimpleQueue[float]()

    def now() -> float:
        at = time.monotonic()
        times.put(at)
        return at

    def look() -> Consumers:
        looks.append(frozenset({("mail-b@alpha", "fleet.email")}) if looks else frozenset())
        assert goes_on.wait(10)
        return looks[-1]

    monkeypatch.setattr(witness, "time", SimpleNamespace(monotonic=now, sleep=time.sleep))
    asked = Witness(look=look, limit_seconds=10)
    wanted = [{}, *[MAIL] * 5]
    threads = [threading.Thread(target=asked.await_consumers, args=("alpha", each)) for each in wanted]
    for number, each in enumerate(threads):
        each.start()
        # The first says when its look begins, too; the others come while that is under way.
        for _ in range(2 if number else 3):
            times.get(timeout=10)
    goes_on.set()
    for each in threads:
        each.join(10)
    assert not any(each.is_alive() for each in threads)
    assert len(looks) == 2


@pytest.mark.parametrize("mailboxes", [{"mail-b@alpha"}, set(), {"mail-a@alpha"}])
def test_where_nothing_ends_a_mailbox_of_each_node_is_enough_and_else_consumers_are_waited_for(
    mailboxes: set[str],
) -> None:
    asked = Witness(look=frozenset, has_mailbox=mailboxes.__contains__, limit_seconds=0)
    if "mail-b@alpha" in mailboxes:
        assert asked.await_first("alpha", MAIL) == ()
    else:
        with pytest.raises(HostChangeFailed, match="shows no consumer"):
            asked.await_first("alpha", MAIL)
    with pytest.raises(HostChangeFailed, match="shows no consumer"):
        asked.await_consumers("alpha", MAIL)


def test_an_api_that_tells_of_no_mailbox_is_asked_for_consumers() -> None:
    def has_mailbox(_: str) -> bool:
        raise Unseen("mq1 does not answer")

    seen = frozenset({("mail-b@alpha", "fleet.email")})
    asked = Witness(look=lambda: seen, has_mailbox=has_mailbox)
    assert asked.await_first("alpha", MAIL) == ()
