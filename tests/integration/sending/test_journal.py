import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from fleet.connection import Target
from fleet.errors import BrokerRefused, BrokerUnreachable
from fleet.journal import JournalReader, JournalWriter, Outcome, tail
from fleet.letters.letter import read_letter
from fleet.letters.outcomes import Outcomes
from fleet.login import Login
from fleet.model import Node
from tests.integration.sending.topology import Site


def outcome(task_id: str, how: str = "succeeded") -> Outcome:
    now = time.time()
    return Outcome(
        task_id=task_id,
        task="fleet.backup",
        queue="fleet.backup.alpha",
        host="alpha",
        worker="backup-a@alpha",
        outcome=how,
        started=now - 1,
        finished=now,
        runtime_seconds=1.0,
        wait_seconds=0.1,
    )


def login(site: Site) -> Login:
    return Login(user=site.vhost.user, password=site.password)


def until(holds: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def test_what_a_worker_writes_is_what_a_reader_gets(site: Site) -> None:
    site.declare_journal()
    written = outcome("1")
    with (
        JournalReader(site.fleet, login(site)) as journal,
        JournalWriter(site.fleet, "alpha", site.password) as writer,
    ):
        writer.put_nowait(written)
        assert journal.wait_for({"1"}, timeout_seconds=10) == {"1": written}


def test_a_reader_waits_for_the_end_and_not_for_a_retry(site: Site) -> None:
    site.declare_journal()
    with (
        JournalReader(site.fleet, login(site)) as journal,
        JournalWriter(site.fleet, "alpha", site.password) as writer,
    ):
        for how in ("retried", "requeued", "failed"):
            writer.put_nowait(outcome("1", how))
        assert journal.wait_for({"1"}, timeout_seconds=10)["1"].outcome == "failed"


def test_a_reader_gives_up_in_time_and_returns_what_it_knows(site: Site) -> None:
    site.declare_journal()
    with (
        JournalReader(site.fleet, login(site)) as journal,
        JournalWriter(site.fleet, "alpha", site.password) as writer,
    ):
        writer.put_nowait(outcome("1"))
        assert set(journal.wait_for({"1", "2"}, timeout_seconds=1)) == {"1"}


def test_a_reader_reads_on_after_its_connection_was_closed(site: Site) -> None:
    site.declare_journal()
    with (
        JournalReader(site.fleet, login(site)) as journal,
        JournalWriter(site.fleet, "alpha", site.password) as writer,
    ):
        writer.put_nowait(outcome("1"))
        assert until(lambda: writer.written == 1)
        site.vhost.node.ctl("close_all_connections", "--vhost", site.vhost.name, "test")
        writer.put_nowait(outcome("2"))
        assert set(journal.wait_for({"1", "2"}, timeout_seconds=20)) == {"1", "2"}


def test_the_past_is_read_from_a_moment_on(site: Site) -> None:
    site.declare_journal()
    with JournalWriter(site.fleet, "alpha", site.password) as writer:
        writer.put_nowait(outcome("1"))
    with JournalReader(site.fleet, login(site), since=time.time()) as journal:
        assert set(journal.wait_for({"1"}, timeout_seconds=10)) == {"1"}


def test_the_tail_is_the_newest_records_oldest_first(site: Site) -> None:
    site.declare_journal()
    with JournalWriter(site.fleet, "alpha", site.password) as writer:
        for number in range(500):
            writer.put_nowait(outcome(str(number)))
    assert writer.written == 500
    assert [record.task_id for record in tail(site.fleet, login(site), count=250)] == [
        str(number) for number in range(250, 500)
    ]


def test_an_empty_journal_has_an_empty_tail(site: Site) -> None:
    site.declare_journal()
    assert tail(site.fleet, login(site), count=5) == ()


def test_a_missing_journal_is_refused_with_a_hint(site: Site) -> None:
    with pytest.raises(BrokerRefused, match=r"no queue 'fleet\.journal'") as caught:
        JournalReader(site.fleet, login(site)).open()
    assert "observer" in str(caught.value.hint)


def test_a_user_who_may_not_read_the_journal_is_refused(site: Site) -> None:
    site.declare_journal()
    site.vhost.api(
        "PUT",
        f"permissions/{site.vhost.name}/{site.vhost.user}",
        {"configure": "^$", "write": ".*", "read": "^$"},
    )
    with pytest.raises(BrokerRefused, match=r"access to queue 'fleet\.journal'"):
        JournalReader(site.fleet, login(site)).open()


def test_an_unreachable_journal_is_said_before_anything_is_sent(site: Site) -> None:
    nowhere = replace(site.fleet.broker, nodes=(Node(host="127.0.0.1", port=1),))
    with pytest.raises(BrokerUnreachable):
        JournalReader(replace(site.fleet, broker=nowhere), login(site)).open()


def test_records_wait_while_the_journal_is_missing_and_are_written_later(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with JournalWriter(site.fleet, "alpha", site.password) as writer:
        writer.put_nowait(outcome("1"))
        assert until(lambda: "no exchange 'fleet.journal'" in caplog.text)
        assert writer.written == 0
        site.declare_journal()
        assert until(lambda: writer.written == 1)
        assert writer.dropped == 0


def test_a_full_writer_drops_and_counts_and_never_blocks(site: Site) -> None:
    writer = JournalWriter(site.fleet, "alpha", site.password, capacity=10)
    for number in range(25):
        writer.put_nowait(outcome(str(number)))
    assert (writer.pending, writer.dropped) == (10, 15)


def test_closing_without_a_broker_ends_in_time_and_counts_what_is_lost(site: Site) -> None:
    nowhere = replace(site.fleet.broker, nodes=(Node(host="127.0.0.1", port=1),))
    writer = JournalWriter(replace(site.fleet, broker=nowhere), "alpha", site.password)
    writer.start()
    for number in range(3):
        writer.put_nowait(outcome(str(number)))
    started = time.monotonic()
    writer.close(timeout_seconds=0.5)
    assert time.monotonic() - started < 2
    assert until(lambda: writer.dropped == 3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_the_journal_alone(site: Site) -> None:
    site.declare_journal()
    with JournalWriter(site.fleet, "alpha", site.password) as writer:
        child = os.fork()
        if child == 0:
            writer.put_nowait(outcome("child"))
            os._exit(writer.pending)
        _, status = os.waitpid(child, 0)
        writer.put_nowait(outcome("parent"))
    assert os.waitstatus_to_exitcode(status) == 0
    assert [record.task_id for record in tail(site.fleet, login(site), count=5)] == ["parent"]


@pytest.mark.parametrize("before", [[], ["fast", "fast"]])
@pytest.mark.parametrize("after", ["slow", "fast"])
def test_hosts_whose_clocks_are_wrong_do_not_hide_how_a_dead_letters_task_ended(
    site: Site, before: list[str], after: str
) -> None:
    site.declare_journal()
    failed = outcome("1", "failed")
    clocks = {"slow": 10.0, "fast": failed.finished + 600}
    others = [outcome("2")._replace(finished=clocks[clock]) for clock in (*before, after)]
    for record in (*others[:-1], failed, others[-1]):
        with JournalWriter(site.fleet, "alpha", site.password) as writer:
            writer.put_nowait(record)
    headers = {"id": "1", "task": failed.task, "fleet_refused_time": failed.finished}
    letter = read_letter(dead_letter_queue="fleet.backup.dlq", headers=headers, properties={}, body=b"")
    target = Target(broker=site.fleet.broker, login=login(site), name="test")
    assert Outcomes(target).last([letter]) == {"1": failed}
