from pathlib import Path

import pytest

from tests.bad_input import Case, cases, in_process, play


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_bad_input_is_answered_word_by_word_and_changes_nothing(case: Case, tmp_path: Path) -> None:
    given = {path.relative_to(case.files): path.read_bytes() for path in case.files.rglob("*.*")}
    if case.fleet_file is not None:
        given[Path("fleet.toml")] = case.fleet_file.encode()
    assert play(case, tmp_path, in_process) == case.expected
    assert "Traceback" not in case.expected
    assert case.expected.endswith("exit status 2\n")
    left = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert left == given
