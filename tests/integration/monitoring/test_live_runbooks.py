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
        "QUEUE": "fleet.email",
        "NAME": "email",
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


def test_dead_letters_are_replayed_and_given_up_as_the_runbook_says(watched: Watched) -> None:
    # A letter that may not run comes back, so that its way is seen: there, refused, and here again.
    def refused() -> float:
        return watched.prometheus.value('sum(fleet_tasks_refused_total{queue="fleet.email"})') or 0

    before = refused()
    notes = {"fleet_refused_queue": "fleet.email", "fleet_refused_routing_key": "fleet.email"}
    letter = {
        "properties": {
            "delivery_mode": 2,
            "content_type": "application/json",
            "headers": {"id": "runbook-1", "task": "fleet.backup", **notes},
        },
        "routing_key": "fleet.email.dlq",
        "payload": "[[], {}, {}]",
        "payload_encoding": "string",
    }
    watched.vhost.api("POST", f"exchanges/{watched.vhost.name}/amq.default/publish", letter)
    steps = {
        line.words[2]: line
        for line in commands_of("FleetDeadLetterQueueNotEmpty")
        if line.words[:2] == ["fleet", "dead-letters"]
        and not line.is_read_only
        and "--dry-run" not in line.words
    }
    assert list(steps) == ["replay", "export", "discard"]
    assert run(watched, steps["replay"]).returncode == 0
    assert watched.poll(lambda: refused() > before)
    assert watched.poll(lambda: "fleet.backup" in run(watched, _counted()).stdout)
    assert run(watched, steps["export"]).returncode == 0
    assert run(watched, steps["discard"]).returncode == 0
    assert run(watched, _counted()).stdout == ""


def _counted() -> Line:
    return next(line for line in commands_of("FleetDeadLetterQueueNotEmpty") if "--count" in line.words)
