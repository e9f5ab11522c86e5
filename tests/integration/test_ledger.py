import multiprocessing
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import LedgerUnreadable
from fleet.ledger import KEPT_RECORDS, JobRecord, Ledger

SPAWN = multiprocessing.get_context("spawn")


def job(*, task_id: str = "t1", finished: float = 20.0, ok: bool = True, name: str = "etc") -> JobRecord:
    return JobRecord(
        kind="backup",
        name=name,
        host="alpha",
        task_id=task_id,
        started=10.0,
        finished=finished,
        ok=ok,
        files=3,
        bytes=1000,
        detail="3 files",
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.sqlite3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def test_a_record_comes_back_as_it_was_written(ledger: Ledger) -> None:
    ledger.record(job())
    assert ledger.latest() == [job()]


def test_a_ledger_that_was_never_written_is_empty_and_stays_absent(ledger: Ledger, path: Path) -> None:
    assert ledger.latest() == []
    assert not path.parent.exists()


def test_the_last_success_is_known_after_a_failure(ledger: Ledger) -> None:
    ledger.record(job(task_id="good", finished=20))
    ledger.record(job(task_id="bad", finished=30, ok=False))
    assert [record.task_id for record in ledger.latest()] == ["bad"]
    assert [record.task_id for record in ledger.latest_good()] == ["good"]


def test_a_task_that_ran_again_replaces_its_record(ledger: Ledger) -> None:
    ledger.record(job(ok=False))
    ledger.record(job(finished=40))
    assert ledger.recent() == [job(finished=40)]


def test_old_records_go_but_the_newest_good_one_stays(ledger: Ledger) -> None:
    ledger.record(job(task_id="good", finished=1))
    for number in range(KEPT_RECORDS + 5):
        ledger.record(job(task_id=str(number), finished=100 + number, ok=False))
    kept = ledger.recent(limit=KEPT_RECORDS * 2)
    assert len(kept) == KEPT_RECORDS + 1
    assert [record.task_id for record in ledger.latest_good()] == ["good"]


def test_only_the_owner_may_read_the_ledger(ledger: Ledger, path: Path) -> None:
    ledger.record(job())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_a_corrupt_ledger_is_an_error_to_readers_and_put_aside_by_the_next_writer(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerUnreadable, match="cannot be used"):
        ledger.latest()
    ledger.record(job())
    assert ledger.latest() == [job()]
    assert path.with_name("ledger.sqlite3.corrupt").read_bytes().startswith(b"this is no database")
    assert "was corrupt" in caplog.text


def test_a_ledger_of_a_newer_fleet_is_left_alone(ledger: Ledger, path: Path) -> None:
    ledger.record(job())
    bump_schema_version(path)
    with pytest.raises(LedgerUnreadable, match="schema 99"):
        ledger.record(job(task_id="t2"))


def test_a_ledger_that_cannot_be_created_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")
    with pytest.raises(LedgerUnreadable, match="state"):
        Ledger(tmp_path / "state" / "ledger.sqlite3").record(job())


def test_a_symbolic_link_in_place_of_the_ledger_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerUnreadable):
        Ledger(tmp_path / "ledger.sqlite3").record(job())
    assert not (tmp_path / "elsewhere").exists()


def test_a_long_detail_is_cut(ledger: Ledger) -> None:
    ledger.record(replace(job(), detail="x" * 5000))
    assert len(ledger.latest()[0].detail) == 500


@pytest.mark.parametrize("broken", [False, True], ids=["from nothing", "from a corrupt file"])
def test_several_processes_write_at_once_and_no_record_is_lost(
    ledger: Ledger, path: Path, *, broken: bool
) -> None:
    if broken:
        path.parent.mkdir()
        path.write_bytes(b"this is no database" * 100)
    run_together([(write_many, path, writer) for writer in range(4)])
    records = ledger.recent(limit=1000)
    assert {record.task_id for record in records} == {f"{w}-{n}" for w in range(4) for n in range(20)}
    assert {record.name for record in ledger.latest()} == {"backup-0", "backup-1", "backup-2", "backup-3"}


def write_many(path: Path, writer: int) -> None:
    for number in range(20):
        Ledger(path).record(job(task_id=f"{writer}-{number}", name=f"backup-{writer}", finished=100 + number))


def run_together(calls: list[tuple[Callable[[Path, int], None], Path, int]]) -> None:
    processes = [SPAWN.Process(target=function, args=arguments) for function, *arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def bump_schema_version(path: Path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
