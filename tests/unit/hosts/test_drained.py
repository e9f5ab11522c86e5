"""A host is drained as long as the file is there, whatever is in it."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fleet.hosts.drained import mark, read_mark

NOW = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)


@given(st.text(), st.text())
def test_who_when_and_why_are_kept(by: str, reason: str) -> None:
    found = read_mark(mark(by, reason, now=NOW))
    assert (found.by, found.reason, found.since) == (by, reason, "2026-11-26 04:00:00Z")


def test_it_is_told_in_one_line() -> None:
    assert read_mark(mark("ivo@desk", "new disk", now=NOW)).told == (
        "drained by ivo@desk at 2026-11-26 04:00:00Z: new disk"
    )


@given(st.binary())
def test_a_file_that_cannot_be_read_still_means_that_it_is_drained(content: bytes) -> None:
    assert read_mark(content).told.startswith("drained by ")
