"""The commands that send, as an operator runs them, against a real broker."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.sending.answering import Answering
from tests.integration.sending.topology import Site

BODY = """
[hosts.alpha]
address = "127.0.0.2"
[hosts.beta]
address = "127.0.0.3"

[queues.email]
tasks = ["fleet.send_mail", "shop.*"]

[backups.etc]
hosts = ["*"]
sources = ["/etc"]
destination = "/var/backups/fleet"

[mail]
from = "fleet@example.org"
templates = "{templates}"
[mail.smtp]
host = "127.0.0.1"
security = "none"
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(site: Site, tmp_path: Path) -> Run:
    """Runs ``fleet`` with the arguments given, on the site's fleet file."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "welcome.subject.txt").write_text("Welcome")
    (templates / "welcome.txt").write_text("Hello {{ name }}")
    path = site.vhost.write_fleet_toml(BODY.format(templates=templates))

    def call(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, "-W", "error", "-m", "fleet.cli.main", "--file", str(path), *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )

    return call


def test_a_task_is_sent_and_its_id_is_all_that_stdout_says(site: Site, run: Run) -> None:
    site.declare_all()
    done = run("task", "send", "shop.charge", "--args", "[1]", "--kwargs", '{"order": 7}', "--key", "o-7")
    assert done.returncode == 0, done.stderr
    (message,) = site.messages("fleet.email")
    assert done.stdout == f"{message.headers['id']}\n"
    assert json.loads(message.body)[:2] == [[1], {"order": 7}]
    assert message.headers["fleet_key"] == "o-7"


def test_arguments_can_come_from_stdin_and_stay_out_of_the_process_list(site: Site, run: Run) -> None:
    site.declare_all()
    done = run("task", "send", "shop.charge", "--kwargs", "@-", "--json", stdin='{"card": "4242"}')
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    (message,) = site.messages("fleet.email")
    assert answer == {
        "id": message.headers["id"],
        "task": "shop.charge",
        "queue": "fleet.email",
        "host": None,
        "in_outbox": False,
    }
    assert json.loads(message.body)[1] == {"card": "4242"}


def test_a_backup_is_waited_for_on_all_of_its_hosts(site: Site, run: Run) -> None:
    site.declare_all()
    with Answering(site, "fleet.backup.alpha"), Answering(site, "fleet.backup.beta"):
        done = run("backup", "run", "etc", "--wait", "--timeout", "20s")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
    assert "fleet.backup on alpha: succeeded in 1.0 s" in done.stderr


def test_a_backup_that_one_host_has_no_queue_for_is_partly_sent(site: Site, run: Run) -> None:
    site.declare_all()
    with site.connection() as connection:
        connection.channel().queue_delete("fleet.backup.beta")
    done = run("backup", "run", "etc")
    assert done.returncode == 3, done.stderr
    (message,) = site.messages("fleet.backup.alpha")
    assert "1 of 2 tasks were not queued: no queue takes task `fleet.backup`" in done.stderr
    assert f"queued: {message.headers['id']}" in done.stderr


def test_a_backup_that_fails_on_one_of_two_hosts_is_partly_done(site: Site, run: Run) -> None:
    site.declare_all()
    with (
        Answering(site, "fleet.backup.alpha"),
        Answering(site, "fleet.backup.beta", lambda _: "failed"),
    ):
        done = run("backup", "run", "etc", "--wait", "--timeout", "20s", "--json")
    assert done.returncode == 3, done.stderr
    assert "1 of 2 tasks did not succeed: fleet.backup on beta: failed in 1.0 s (OSError)" in done.stderr
    assert [task["outcome"]["outcome"] for task in json.loads(done.stdout)] == ["succeeded", "failed"]


def test_an_outcome_that_does_not_come_in_time_is_said_to_be_unknown(site: Site, run: Run) -> None:
    site.declare_all()
    done = run("task", "send", "shop.charge", "--wait", "--timeout", "1")
    assert done.returncode == 1, done.stderr
    assert "no outcome within 1 s of 1 of 1 tasks" in done.stderr
    assert "hint: they stay queued" in done.stderr


def test_who_cannot_wait_sends_nothing(site: Site, run: Run) -> None:
    site.declare_all()
    with site.connection() as connection:
        connection.channel().queue_delete("fleet.journal")
    done = run("task", "send", "shop.charge", "--wait")
    assert done.returncode == 1
    assert "the journal cannot be read" in done.stderr
    assert site.messages("fleet.email") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("task", "send", "shop.charge", "--kwargs", "{"), "--kwargs is no JSON"),
        (("task", "send", "shop.charge", "--kwargs", "[1]"), "--kwargs needs a JSON object, not a list"),
        (("task", "send", "shop.charge", "--args", "@/nonexistent"), "`/nonexistent` cannot be read"),
        (("task", "send", "shop.charge", "--args", "[" * 50_000), "--args is no JSON"),
        (("task", "send", "shop.charge", "--key", ""), "the idempotency key is empty"),
        (("task", "send", "shop.charge", "--key", "\udcff"), "no text in UTF-8"),
        (("task", "send", "shop.a\nb"), "`shop.a?b` cannot be the name of a task"),
        (("task", "send", "nobody.knows"), "no queue for task `nobody.knows`"),
        (("task", "send", "shop.charge", "--delay", "soon"), "such as `30s`, `5m`, `26h`, `7d`, not `soon`"),
        (("backup", "run", "etcc"), "no backup `etcc`"),
        (("backup", "run", "etc", "--host", "gamma"), "backup `etc` has no host `gamma`"),
        (("mail", "send", "--to", "nobody", "--template", "welcome"), "nobody"),
        (("mail", "send", "--to", "a@example.org", "--template", "missing"), "missing"),
        (("mail", "send", "--to", "a@example.org", "--template", "welcome"), "'name' is undefined"),
        (
            ("mail", "send", "--to", "a@x.org", "--to", "b@x.org", "--template", "welcome", "--key", "k"),
            "one key",
        ),
    ],
)
def test_a_wrong_command_ends_with_2_and_one_clear_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
