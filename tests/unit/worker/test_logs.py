import logging
import os
import sys
from typing import Any

import pytest
from celery.app import trace

from fleet.worker.logs import JournalFormatter, KeyValueFormatter, formatter, quoted


def line(message: str, *args: object, **extra: Any) -> str:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "INFO", "msg": message, "args": args, "created": 0.0, "msecs": 7.0} | extra
    )
    return KeyValueFormatter().format(record)


def test_a_record_is_one_line_of_fields() -> None:
    assert line("hello %s", "world") == (
        'time=1970-01-01T00:00:00.007Z level=info event=log logger=x message="hello world"'
    )


def test_an_event_has_its_fields() -> None:
    assert "event=message_refused queue=fleet.email reason=callbacks" in line(
        "message refused", event="message_refused", fields={"queue": "fleet.email", "reason": "callbacks"}
    )


@pytest.mark.parametrize("template", [trace.LOG_SUCCESS, trace.LOG_FAILURE, trace.LOG_RETRY])
def test_celerys_lines_about_tasks_show_neither_arguments_nor_results(template: str) -> None:
    data = {
        "name": "fleet.send_mail",
        "id": "1",
        "args": "('ann@example.org',)",
        "kwargs": "{'to': 'ann@example.org'}",
        "return_value": "'ann@example.org'",
        "runtime": 0.5,
        "exc": "ValueError()",
        "description": "raised",
    }
    written = line(template, data=data)
    assert "task=fleet.send_mail id=1" in written
    assert "ann@example.org" not in written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain-1.0", "plain-1.0"),
        ("two words", '"two words"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("line\nevent=forged", '"line\\nevent=forged"'),
        ("\x1b[31m", '"\\x1b[31m"'),
        ("", '""'),
        (0.12345, "0.123"),
    ],
)
def test_a_value_cannot_break_out_of_its_field(value: object, expected: str) -> None:
    assert quoted(value) == expected


def test_a_traceback_follows_indented() -> None:
    try:
        int("no")
    except ValueError:
        written = line("failed", exc_info=sys.exc_info())
    first, *rest = written.splitlines()
    assert first.startswith("time=")
    assert all(each.startswith("  ") for each in rest)
    assert rest[-1].startswith("  ValueError: ")


@pytest.mark.parametrize(
    ("level", "head"),
    [("CRITICAL", "<2>"), ("ERROR", "<3>"), ("WARNING", "<4>"), ("INFO", "<6>"), ("DEBUG", "<7>")],
)
def test_journald_gets_each_lines_priority_tracebacks_included(level: str, head: str) -> None:
    try:
        int("x")
    except ValueError:
        info = sys.exc_info()
    number = logging.getLevelNamesMapping()[level]
    record = logging.makeLogRecord(
        {"name": "x", "levelname": level, "levelno": number, "msg": "m", "exc_info": info}
    )
    lines = JournalFormatter().format(record).splitlines()
    assert len(lines) > 2
    assert all(line.startswith(head) for line in lines)


def test_only_a_stderr_that_is_journalds_gets_priorities() -> None:
    reader, writer = os.pipe()
    try:
        found = os.fstat(writer)
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert type(formatter(journal, writer)) is JournalFormatter
        assert type(formatter({"JOURNAL_STREAM": "1:2"}, writer)) is KeyValueFormatter
        assert type(formatter({}, writer)) is KeyValueFormatter
    finally:
        os.close(reader)
        os.close(writer)
