import re
import shlex
from itertools import takewhile

import click
import pytest

from fleet.metrics.catalogue import CATALOGUE
from fleet.metrics.rule import series_in
from fleet.metrics.rules import alerts, recordings, series_named_by_rules
from tests.runbooks import (
    DIRECTORY,
    HEADINGS,
    PROGRAMS,
    commands_of,
    lines_of,
    parse_with_the_real_command_line,
    runbook_names,
    text_of,
)

for_each_runbook = pytest.mark.parametrize("alert", runbook_names())


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    assert runbook_names() == sorted({alert.name for alert in alerts()})


@for_each_runbook
def test_a_runbook_has_the_headings_in_their_order(alert: str) -> None:
    text = text_of(alert)
    assert text.startswith(f"# {alert}\n")
    assert tuple(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)) == HEADINGS


@for_each_runbook
def test_a_runbook_diagnoses_repairs_and_verifies_with_commands(alert: str) -> None:
    _, _, _, diagnosis, mitigation, verify = re.split(r"^## .+$", text_of(alert), flags=re.MULTILINE)
    assert "```sh read-only\n" in diagnosis
    assert "```sh\n" in mitigation
    assert "```sh read-only\n" in verify


@for_each_runbook
def test_a_runbooks_links_lead_to_runbooks(alert: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(alert)):
        assert (DIRECTORY / target).is_file()


@for_each_runbook
def test_every_block_says_whether_it_only_reads(alert: str) -> None:
    assert {line.fence for line in lines_of(alert)} == {"sh", "sh read-only"}


@for_each_runbook
def test_a_line_uses_an_allowed_program_and_no_shell_construct(alert: str) -> None:
    for line in commands_of(alert):
        assert line.program in PROGRAMS, line
        unquoted = re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", "", line.text)
        assert not re.search(r"[|;&<>`]|\$\(", unquoted), line


@for_each_runbook
def test_a_variable_is_set_before_it_is_used(alert: str) -> None:
    found = lines_of(alert)
    for line in found:
        before = takewhile(lambda each, line=line: each.number < line.number, found)  # type: ignore[misc]
        known = {each.text.partition("=")[0] for each in before if each.is_assignment}
        assert set(re.findall(r"\$([A-Z]+)", line.text)) <= known, line


@for_each_runbook
def test_a_fleet_line_is_understood_by_the_real_command_line(alert: str) -> None:
    for line in commands_of(alert):
        if line.program == "fleet":
            parse_with_the_real_command_line(line.words)


def test_a_fleet_line_with_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        parse_with_the_real_command_line(["fleet", "prometheus", "targets", "--outptu", "x"])


@for_each_runbook
def test_a_query_names_series_that_are_exported(alert: str) -> None:
    known = {*CATALOGUE, *series_named_by_rules(), *(recording.record for recording in recordings())}
    known |= {f"{name}_{part}" for name in CATALOGUE for part in ("bucket", "sum", "count")}
    for line in commands_of(alert):
        if line.program == "promtool":
            assert line.words[:3] == ["promtool", "query", "instant"], line
            assert series_in(line.words[4]) <= known, line


@for_each_runbook
def test_a_line_marked_as_reading_changes_nothing(alert: str) -> None:
    changing = {
        "enable",
        "set_parameter",
        "purge_queue",
        "set_disk_free_limit",
        "start",
        "run",
        "send",
        "replay",
        "discard",
    }
    for line in (each for each in commands_of(alert) if each.is_read_only):
        assert not changing & set(line.words), line
        if line.program == "fleet":
            assert "--output" not in line.words, line
            assert line.words[1] not in ("worker", "beat"), line
            assert line.words[1] != "provision" or "--check" in line.words, line


def test_the_how_to_page_uses_commands_that_are_understood() -> None:
    page = DIRECTORY.parent / "how-to" / "monitor-with-prometheus.md"
    found = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("fleet ")]
    assert found
    for line in found:
        parse_with_the_real_command_line(shlex.split(line))
