"""The commands of the runbooks that change nothing, run on a live fleet as an operator would run them."""

import subprocess
from shlex import quote

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
        "CHECK": "management",
        "ADDRESS": watched.vhost.node.management_url,
    }


def run(watched: Watched, line: Line) -> "subprocess.CompletedProcess[str]":
    assignments = " ".join(f"{name}={quote(value)}" for name, value in variables(watched).items())
    return watched.run("sh", "-euc", f"{assignments}\n{line.text}")


@pytest.mark.parametrize("line", reading_lines(), ids=str)
def test_a_line_that_only_reads_succeeds_on_a_sound_fleet(watched: Watched, line: Line) -> None:
    done = run(watched, line)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_a_runbook_is_given_here(watched: Watched) -> None:
    named = {
        line.text.partition("=")[0]
        for name in runbook_names()
        for line in lines_of(name)
        if line.is_assignment
    }
    assert named == set(variables(watched))


def test_dead_letters_are_replayed_as_the_runbook_says(watched: Watched) -> None:
    # A letter that no worker understands comes back, so that its way is seen: there, refused, and here again.
    def refused() -> float:
        return watched.prometheus.value('sum(fleet_tasks_unknown_total{queue="fleet.email"})') or 0

    before = refused()
    letter = {
        "properties": {"delivery_mode": 2},
        "routing_key": "fleet.email.dlq",
        "payload": "no task at all",
        "payload_encoding": "string",
    }
    watched.vhost.api("POST", f"exchanges/{watched.vhost.name}/amq.default/publish", letter)
    enable, replay = (
        line
        for line in commands_of("FleetDeadLetterQueueNotEmpty")
        if {"rabbitmq_shovel", "shovel"} & set(line.words)
    )
    assert run(watched, enable).returncode == 0
    # The plugin comes up a moment after it was enabled.
    assert watched.poll(lambda: run(watched, replay).returncode == 0, seconds=20)
    assert watched.poll(lambda: refused() > before)
