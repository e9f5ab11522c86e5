"""The commands of docs/runbooks, as the tests see them.

A block fenced ``sh read-only`` changes nothing; one fenced ``sh`` may change things.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from fleet.cli.main import fleet

DIRECTORY = Path(__file__).parents[1] / "docs" / "runbooks"
HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation", "Verify")
#: programs that a runbook may use; each is on the machine where the runbook says to run it
PROGRAMS = frozenset(
    {
        *("fleet", "promtool", "rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"),
        *("curl", "ss", "df", "systemctl"),
    }
)

_FENCE = re.compile(r"^```(.*)$")
_ASSIGNMENT = re.compile(r"[A-Z]+=\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a code block."""

    #: name of the runbook's alert
    alert: str
    number: int
    text: str
    #: words after the fence, such as ``sh read-only``
    fence: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def program(self) -> str:
        return self.words[0]

    @property
    def is_assignment(self) -> bool:
        return bool(_ASSIGNMENT.fullmatch(self.text))

    @property
    def is_read_only(self) -> bool:
        return self.fence.endswith(" read-only")

    def __str__(self) -> str:
        return f"{self.alert}:{self.number}"


def runbook_names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.iterdir())


def text_of(alert: str) -> str:
    return (DIRECTORY / f"{alert}.md").read_text(encoding="utf-8")


def lines_of(alert: str) -> list[Line]:
    """Return every line of every code block of a runbook."""
    found: list[Line] = []
    fence: str | None = None
    for number, text in enumerate(text_of(alert).splitlines(), start=1):
        if marker := _FENCE.match(text):
            fence = marker[1] if fence is None else None
        elif fence is not None and text:
            found.append(Line(alert=alert, number=number, text=text, fence=fence))
    return found


def commands_of(alert: str) -> list[Line]:
    """Return the lines of a runbook that run something."""
    return [line for line in lines_of(alert) if not line.is_assignment]


def parse_with_the_real_command_line(words: list[str]) -> None:
    """Parse ``fleet …`` as the command line would, and run nothing. Raises click.UsageError."""
    context = fleet.make_context("fleet", words[1:])
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, arguments, parent=context)
