from pathlib import Path

import pytest

from tests.bad_input import Case, cases, in_process, play


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_bad_input_is_answered_word_by_word_and_changes_nothing(case: Case, tmp_path: Path) -> None:
    assert play(case, tmp_path, in_process) == case.expected
    assert "Traceback" not in case.expected
    assert case.expected.endswith("exit status 2\n")
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.toml"] * (case.fleet_file is not None)
