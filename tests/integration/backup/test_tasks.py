import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.backup.failure import BackupPartial, BackupRefused
from fleet.errors import UsageError
from fleet.ledger import JobRecord, Ledger
from fleet.model import Broker, Fleet, Host, Node, Queue, Worker
from fleet.worker.context import WorkerContext
from fleet.worker.tasks.backup import back_up, bring_back
from tests.integration.backup.site import Site


def now() -> datetime:
    return datetime.now(UTC)


def context(site: Site, *, host: str = "alpha") -> WorkerContext:
    worker = Worker(name="backup", hosts=("*",), queues=("backup",))
    fleet = Fleet(
        name="test",
        timezone="UTC",
        state_dir=str(site.state_dir),
        broker=Broker(nodes=(Node(host="mq1", port=5672),)),
        hosts=(Host(name="alpha", address="alpha"), Host(name="beta", address="beta")),
        queues=(Queue(name="backup", tasks=("fleet.backup", "fleet.restore"), long=True, per_host=True),),
        workers=(worker,),
        backups=(site.backup,),
    )
    return WorkerContext(fleet=fleet, host=host, worker=worker, environ={})


def only_record(site: Site) -> JobRecord:
    (record,) = Ledger.in_state_dir(str(site.state_dir)).latest()
    return record


def test_a_backup_that_ended_well_stands_in_the_ledger_and_in_the_answer(site: Site) -> None:
    answer = back_up(context(site), backup="data", task_id="t1", clock=now)
    record = only_record(site)
    assert (record.kind, record.name, record.host, record.task_id) == ("backup", "data", "alpha", "t1")
    assert (record.ok, record.files, answer["files"], answer["outcome"]) == (True, 2, 2, "complete")
    assert record.finished >= record.started
    assert json.loads(json.dumps(answer)) == answer


def test_a_redelivered_backup_changes_nothing_in_the_ledger(site: Site) -> None:
    back_up(context(site), backup="data", task_id="t1", clock=now)
    before = only_record(site)
    assert back_up(context(site), backup="data", task_id="t1", clock=now)["repeated"] is True
    assert only_record(site) == before


def test_a_mirror_is_recorded_under_its_own_kind(site: Site) -> None:
    back_up(context(site.having(kind="mirror")), backup="data", task_id="t1", clock=now)
    assert only_record(site).kind == "mirror"


def test_a_refused_backup_stands_in_the_ledger_with_its_reason(empty_site: Site) -> None:
    with pytest.raises(BackupRefused):
        back_up(context(empty_site), backup="data", task_id="t1", clock=now)
    record = only_record(empty_site)
    assert not record.ok
    assert "hold 0 files" in record.detail


def make_a_path_too_long(directory: Path) -> None:
    """Make a file whose path even root's rsync cannot read, because it is longer than Linux allows."""
    here = os.open(directory, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 180, dir_fd=here)
        below = os.open("d" * 180, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_a_partial_backup_is_an_error_that_says_why_in_few_words(site: Site) -> None:
    make_a_path_too_long(site.source)
    with pytest.raises(
        BackupPartial, match="is partial, 1 problems: filename overflows max-path len"
    ) as error:
        back_up(context(site), backup="data", task_id="t1", clock=now)
    assert len(str(error.value)) < 1000
    assert not only_record(site).ok
    assert only_record(site).files == 2


@pytest.mark.parametrize("name", ["other", "../data", "", 7, None, ["data"]])
def test_a_backup_that_the_fleet_file_has_not_is_refused(site: Site, name: str) -> None:
    with pytest.raises(UsageError):
        back_up(context(site), backup=name, task_id="t1", clock=now)


def test_a_backup_of_other_hosts_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="is not for host `beta`"):
        back_up(context(site.having(hosts=("alpha",)), host="beta"), backup="data", task_id="t1", clock=now)


def test_a_restore_answers_where_the_files_are_and_is_recorded(site: Site) -> None:
    back_up(context(site), backup="data", task_id="t1", clock=now)
    answer = bring_back(
        context(site),
        backup="data",
        path=f"{site.source}/notes",
        snapshot="latest",
        task_id="r1",
        clock=now,
    )
    assert Path(str(answer["target"])).read_text() == "first\n"
    records = {record.kind: record for record in Ledger.in_state_dir(str(site.state_dir)).latest()}
    assert (records["restore"].ok, records["restore"].files) == (True, 1)


@pytest.mark.parametrize(("path", "snapshot"), [(7, "latest"), ("/", None), ("../..", "latest"), ("/", "..")])
def test_arguments_of_a_restore_that_are_no_names_are_refused_and_recorded(
    site: Site, path: str, snapshot: str
) -> None:
    back_up(context(site), backup="data", task_id="t1", clock=now)
    with pytest.raises(UsageError):
        bring_back(context(site), backup="data", path=path, snapshot=snapshot, task_id="r1", clock=now)
    assert not site.restore_dir.exists()


def test_a_ledger_that_cannot_be_written_does_not_undo_a_backup(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.state_dir.mkdir()
    (site.state_dir / "ledger.sqlite3").mkdir()
    assert back_up(context(site), backup="data", task_id="t1", clock=now)["outcome"] == "complete"
    assert "ledger" in caplog.text
