from dataclasses import replace

import pytest

from fleet.backup.failure import BackupFailed, BackupPostponed, BackupRefused
from fleet.backup.manifest import Outcome
from fleet.backup.verdict import mirror_refusal, outcome, partial_error, stop_reason
from tests.unit.backup.samples import ETC, manifest, source_copy

MIRROR = replace(ETC, kind="mirror", max_delete=5)


@pytest.mark.parametrize("exit_code", [0, 23, 24])
def test_a_run_goes_on_after_a_source_that_was_read_as_far_as_possible(exit_code: int) -> None:
    assert stop_reason(source_copy(exit_code=exit_code)) is None


@pytest.mark.parametrize("exit_code", [10, 11, 12, 20, 30, 255, -9, -15])
def test_what_may_pass_is_tried_again(exit_code: int) -> None:
    error = stop_reason(source_copy(exit_code=exit_code))
    assert isinstance(error, BackupPostponed)
    assert error.retry_seconds


@pytest.mark.parametrize("exit_code", [1, 2, 5, 99])
def test_what_will_not_pass_is_final_and_says_rsyncs_own_reason(exit_code: int) -> None:
    error = stop_reason(source_copy(exit_code=exit_code, problems=("a", "b")))
    assert isinstance(error, BackupFailed)
    assert str(error).endswith(f"exit code {exit_code}: a")
    assert error.retry_seconds is None


@pytest.mark.parametrize("exit_code", [11, 12, 23])
def test_a_full_disk_is_final_whatever_the_exit_code(exit_code: int) -> None:
    problems = (
        'rsync: [receiver] write failed on "/x": No space left on device (28)',
        "rsync: broken pipe (32)",
    )
    error = stop_reason(source_copy(exit_code=exit_code, problems=problems))
    assert isinstance(error, BackupFailed)
    assert "No space left" in str(error)


def test_a_signal_is_named() -> None:
    assert "signal 9" in str(stop_reason(source_copy(exit_code=-9)))


def test_files_that_went_away_leave_a_snapshot_good() -> None:
    assert outcome([source_copy(exit_code=24, vanished=3)], backup=ETC) is Outcome.VANISHED


@pytest.mark.parametrize(("files", "expected"), [(1000, Outcome.PARTIAL), (3000, Outcome.VANISHED)])
def test_files_that_went_away_in_number_are_a_loss(files: int, expected: Outcome) -> None:
    assert outcome([source_copy(exit_code=24, files=files, vanished=101)], backup=ETC) is expected


def test_one_source_with_unreadable_files_makes_the_snapshot_partial() -> None:
    assert outcome([source_copy(), source_copy(exit_code=23)], backup=ETC) is Outcome.PARTIAL


def test_fewer_files_than_expected_are_no_snapshot() -> None:
    with pytest.raises(BackupRefused, match="hold 10 files, at least 11 are expected"):
        outcome([source_copy()], backup=replace(ETC, min_files=11))


def test_an_empty_source_is_refused_by_default() -> None:
    with pytest.raises(BackupRefused):
        outcome([source_copy(files=0)], backup=ETC)


def test_a_mirror_follows_deletions_up_to_its_limit() -> None:
    before = manifest(kind="mirror")
    assert mirror_refusal([source_copy(deleted=5)], backup=MIRROR, before=before) is None
    refusal = mirror_refusal([source_copy(deleted=6)], backup=MIRROR, before=before)
    assert "would lose 6 files, `max_delete` allows 5" in str(refusal)


def test_a_mirror_is_not_emptied_when_one_of_its_sources_is() -> None:
    counted = [source_copy(files=0, deleted=1), source_copy(path="/opt", files=50)]
    refusal = mirror_refusal(counted, backup=MIRROR, before=manifest(kind="mirror"))
    assert "source `/etc` of mirror `etc` is empty" in str(refusal)


def test_a_partial_snapshot_is_reported_with_its_first_problem() -> None:
    partial = replace(manifest(outcome=Outcome.PARTIAL), sources=(source_copy(problems=("no", "nor")),))
    error = partial_error(partial)
    assert "is partial, 2 problems: no" in str(error)
    assert error.exit_code == 3
