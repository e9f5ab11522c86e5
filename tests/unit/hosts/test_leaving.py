"""Which lines of a fleet file go when a host leaves."""

import pytest

from fleet.hosts.leaving import lines_of

TEXT = """\
[fleet]
name = "office"

[hosts.alpha]
address = "10.0.0.11"
labels = [
  "db",
]

# the spare one
[hosts.beta]
address = "10.0.0.12"

[workers.mail]
hosts = ["alpha", "beta"]
queues = ["email"]
# not "alpha"
[backups.home]
hosts = ['alpha']
"""


def told(text: str, host: str) -> list[tuple[int, bool]]:
    return [(line.number, line.goes) for line in lines_of(text, host)]


def test_its_own_table_goes_whole_and_what_names_it_elsewhere_is_shown() -> None:
    goes = [(number, True) for number in range(4, 9)]
    assert told(TEXT, "alpha") == [*goes, (15, False), (19, False)]


def test_the_comment_of_the_next_table_is_not_its_own() -> None:
    assert told(TEXT, "beta") == [(11, True), (12, True), (15, False)]


@pytest.mark.parametrize(
    "text", ["[hosts]\nalpha = {address = '10.0.0.11'}\nbeta = {}\n", "[hosts]\nbeta = {}\nalpha = {}"]
)
def test_a_host_in_one_line_is_that_line(text: str) -> None:
    lines = text.splitlines()
    (number,) = (number for number, line in enumerate(lines, start=1) if line.startswith("alpha"))
    assert told(text, "alpha") == [(number, True)]


def test_a_host_that_is_not_there_has_no_lines() -> None:
    assert told(TEXT, "gamma") == []
