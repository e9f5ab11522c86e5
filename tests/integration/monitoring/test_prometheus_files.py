import json
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.ops.prometheus import rule_document, target_document, write
from tests.unit.metrics.fleets import WALK


def test_a_file_is_written_once_and_left_alone_while_it_is_true(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    assert write(target_document(WALK), path).changed
    before = path.stat()
    assert not write(target_document(WALK), path).changed
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert json.loads(path.read_text())[0]["labels"]["host"] == "alpha"


def test_prometheus_may_read_the_file_and_finds_no_other_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text("old")
    path.chmod(0o600)
    write(rule_document(runbook_url="{alert}"), path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"cannot write .*: No such file or directory") as caught:
        write(target_document(WALK), tmp_path / "missing" / "targets.json")
    assert caught.value.hint
