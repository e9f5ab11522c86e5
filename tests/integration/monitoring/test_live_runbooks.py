"""The commands of the runbooks that change nothing, run on a live fleet as an operator would run them."""

import pytest

from tests.integration.monitoring.watched import Watched
from tests.runbooks import Line, commands_of, lines_of, runbook_names


def reading_lines() -> list[Line]:
    """Return each command that only reads, once."""
    found = {line.text: line for name in runbook_names() for line in commands_of(name) if line.is_read_only}
    return sorted(found.values(), key=str)


def variables(watched: Watched) -> dict[str, str]:
    """Return what an operator would write instead of the examples."""
    return {
        "VHOST": watched.vhost.name,
        "PROMETHEUS": watched.prometheus.url,
        "MANAGEMENT": watched.vhost.node.management_url,
        "QUEUE": "fleet.email",
        "DLQ": "fleet.email.dlq",
        "HOST": "alpha",
        "WORKER": "shared",
        "TASK": "fleet.send_mail",
        "BACKUP": "etc",
        "ENTRY": "nightly",
    }


@pytest.mark.parametrize("line", reading_lines(), ids=str)
def test_a_line_that_only_reads_succeeds_on_a_sound_fleet(watched: Watched, line: Line) -> None:
    assignments = " ".join(f"{name}={value!r}" for name, value in variables(watched).items())
    done = watched.run("sh", "-euc", f"{assignments}\n{line.text}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_a_runbook_is_given_here(watched: Watched) -> None:
    named = {
        line.text.partition("=")[0]
        for name in runbook_names()
        for line in lines_of(name)
        if line.is_assignment
    }
    assert named == set(variables(watched))
