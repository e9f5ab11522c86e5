"""With which files was a unit started, when its host lost power before the start was known to be over?"""

import pytest

from provisioning.hosts.agent.keeping import about_to_start, started_with

KEPT = about_to_start({"restart_on": "old files"}, run="first", restart_on="new files")


@pytest.mark.parametrize(
    ("run", "files"),
    [
        pytest.param("first", "old files", id="it was not started again"),
        pytest.param("second", "new files", id="it was, by systemd or by the boot of its host"),
        pytest.param("", "old files", id="it has not run since the boot"),
    ],
)
def test_a_start_that_was_announced_counts_from_the_next_run_on(run: str, files: str) -> None:
    assert started_with(KEPT, run) == files


def test_a_unit_that_never_ran_is_known_by_its_first_run() -> None:
    kept = about_to_start({"restart_on": ""}, run="", restart_on="new files")
    assert started_with(kept, "") == ""
    assert started_with(kept, "first") == "new files"


def test_what_an_older_release_has_kept_is_still_understood() -> None:
    assert started_with({"restart_on": "old files"}, "any") == "old files"
    assert started_with({}, "any") == ""
