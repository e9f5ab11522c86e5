"""The outbox as an operator meets it on the command line, with a broker that is away and one that is back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fleet.daemons.process import free_ports
from fleet.model import Queue
from fleet.routes import broker_queue
from tests.integration.sending.answering import Answering
from tests.integration.sending.topology import EMAIL_QUEUE, Site

BODY = """
[hosts.alpha]
address = "127.0.0.2"

[queues.email]
tasks = ["fleet.send_mail", "shop.*"]
"""
FLEET = (sys.executable, "-W", "error", "-m", "fleet.cli.main")

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def file(site: Site) -> Path:
    return site.vhost.write_fleet_toml(BODY)


@pytest.fixture
def file_of_away(site: Site, file: Path) -> Path:
    """The same fleet file, with a port that nobody listens on."""
    text = file.read_text().replace(site.vhost.node.url, f"amqp://127.0.0.1:{free_ports(1)[0]}")
    path = file.with_name("away.toml")
    path.write_text(text)
    return path


def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}


def runner(file: Path, tmp_path: Path) -> Run:
    def call(*arguments: str, env: Mapping[str, str] | None = None) -> Done:
        return subprocess.run(
            (*FLEET, "--file", str(file), *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environ(tmp_path) | dict(env or {}),
        )

    return call


@pytest.fixture
def run(site: Site, file: Path, tmp_path: Path) -> Run:
    """Runs ``fleet`` while the broker answers."""
    site.declare_all()
    return runner(file, tmp_path)


@pytest.fixture
def run_away(file_of_away: Path, tmp_path: Path) -> Run:
    """Runs ``fleet`` while the broker does not answer."""
    return runner(file_of_away, tmp_path)


def keep(run_away: Run, *more: str) -> str:
    """Send a task that goes to the outbox; return its id."""
    done = run_away("task", "send", "shop.charge", "--outbox", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def arrived(site: Site) -> list[str]:
    return [str(message.headers["id"]) for message in site.messages(EMAIL_QUEUE.name)]


def test_without_an_outbox_a_broker_that_is_away_is_an_error(run_away: Run, tmp_path: Path) -> None:
    done = run_away("task", "send", "shop.charge")
    assert (done.returncode, done.stdout) == (5, "")
    assert not (tmp_path / "state").exists()


def test_a_task_is_kept_and_forwarded(run: Run, run_away: Run, site: Site, tmp_path: Path) -> None:
    done = run_away("task", "send", "shop.charge", "--outbox", "--json")
    assert done.returncode == 0, done.stderr
    (sent,) = json.loads(done.stdout)
    assert sent["in_outbox"]
    place = tmp_path / "state" / "outbox" / "outbox.sqlite3"
    assert f"1 of 1 tasks wait in {place}: `fleet outbox forward` sends them" in done.stderr
    forwarded = run("outbox", "forward")
    assert forwarded.returncode == 0, forwarded.stderr
    assert forwarded.stderr == f"sent 1 tasks; 0 stay in {place}\n"
    assert arrived(site) == [sent["id"]]


def test_a_backlog_is_shown_without_arguments(run_away: Run) -> None:
    first = keep(run_away, "--kwargs", '{"card": "4242"}', "--key", "o-7", "--delay", "1h")
    keep(run_away)
    status, tasks = run_away("outbox", "status", "--json"), run_away("outbox", "list", "--json")
    found = json.loads(status.stdout)
    assert (found["messages"], found["max_messages"], found["last_forward"]) == (2, 10_000, None)
    assert [(queue["queue"], queue["messages"]) for queue in found["queues"]] == [("fleet.email", 2)]
    listed = json.loads(tasks.stdout)
    assert listed[0] | {"first_sent": "", "bytes": 0} == {
        "number": 1,
        "id": first,
        "task": "shop.charge",
        "queue": "fleet.email",
        "host": None,
        "key": "o-7",
        "first_sent": "",
        "delay_seconds": 3600,
        "bytes": 0,
        "refusal": None,
        "refused": None,
    }
    shown = [run_away("outbox", "list").stdout, run_away("outbox", "status").stdout]
    assert first in shown[0]
    assert "4242" not in "".join([*shown, status.stdout, tasks.stdout])


def test_an_outbox_that_was_never_used_is_empty(run_away: Run, tmp_path: Path) -> None:
    done = run_away("outbox", "status")
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 of at most 10000 tasks" in done.stderr
    assert "never forwarded" in done.stderr
    assert run_away("outbox", "list").stderr == "no tasks wait\n"
    assert run_away("outbox", "forward").returncode == 0
    assert not (tmp_path / "state").exists()


def test_forwarding_without_a_broker_ends_with_5_and_keeps_the_tasks(run_away: Run) -> None:
    keep(run_away)
    done = run_away("outbox", "forward", "--json")
    assert done.returncode == 5
    assert "1 tasks stay in the outbox" in done.stderr
    answer = json.loads(done.stdout)
    assert (answer["delivered"], answer["left"], answer["held"]) == (0, 1, [])
    assert "no broker node answered" in answer["stopped"]


def test_a_held_task_is_told_and_can_be_discarded(run: Run, run_away: Run, site: Site) -> None:
    task_id = keep(run_away)
    with site.connection() as connection:
        connection.channel().queue_delete(EMAIL_QUEUE.name)
    done = run("outbox", "forward")
    assert done.returncode == 1
    assert f"task {task_id} (number 1): no queue takes task `shop.charge`" in done.stderr
    assert "or `fleet outbox discard 1`, and the others go on" in done.stderr
    assert "no queue takes task" in run("outbox", "status").stdout
    asked = run("outbox", "discard", "1")
    assert (asked.returncode, "add `--yes`" in asked.stderr) == (2, True)
    unknown = run("outbox", "discard", "1", "2", "--yes")
    assert (unknown.returncode, "no task number 2" in unknown.stderr) == (2, True)
    gone = run("outbox", "discard", "1", "--yes")
    assert (gone.returncode, gone.stderr) == (0, "discarded 1 tasks\n")
    assert json.loads(run("outbox", "list", "--json").stdout) == []


def test_what_one_queue_holds_does_not_stop_the_others(run: Run, run_away: Run, site: Site) -> None:
    held = keep(run_away)
    other = run_away("task", "send", "fleet.check_urls", "--outbox").stdout.strip()
    default = broker_queue(Queue(name="default", tasks=("fleet.check_urls",)), None)
    site.declare(default)
    with site.connection() as connection:
        connection.channel().queue_delete(EMAIL_QUEUE.name)
    done = run("outbox", "forward", "--json")
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["delivered"], answer["left"], [one["id"] for one in answer["held"]]) == (1, 1, [held])
    assert [message.headers["id"] for message in site.messages(default.name)] == [other]


def test_limits_are_kept_in_the_outbox(run_away: Run) -> None:
    done = run_away("outbox", "limit", "--messages", "1", "--bytes", "2M", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["max_messages"], found["max_bytes"]) == (1, 2 * 1024**2)
    keep(run_away)
    full = run_away("task", "send", "shop.charge", "--outbox")
    assert full.returncode == 1
    assert "is full: it keeps 1 of 1 tasks" in full.stderr
    assert "hint: run `fleet outbox forward`" in full.stderr
    assert (full.stdout, "Traceback" in full.stderr) == ("", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("outbox", "limit"), "no limit is given"),
        (("outbox", "limit", "--bytes", "much"), "--bytes must be bytes or a text such as `512K`"),
        (("outbox", "limit", "--messages", "0"), "0 is not in the range"),
        (("outbox", "limit", "--messages", str(2**63)), f"{2**63} is not in the range"),
        (("outbox", "limit", "--bytes", str(2**63)), "--bytes must be at most 1000000000000000"),
        (("outbox", "discard"), "Missing argument"),
        (("outbox", "discard", "1"), "keeps no tasks"),
        (("outbox", "forward", "--every", "0"), "--every takes at least one second"),
        (("outbox", "forward", "--every", "5s", "--json"), "--every"),
        (("outbox", "forward", "--user", "nobody"), "no broker user `nobody`"),
    ],
)
def test_a_wrong_command_ends_with_2_and_changes_nothing(
    run_away: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run_away(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "state").exists()


def test_the_environment_names_the_outbox_for_every_command(run: Run, run_away: Run, tmp_path: Path) -> None:
    env = {"FLEET_OUTBOX_FILE": str(tmp_path / "mine" / "box.sqlite3")}
    assert run_away("task", "send", "shop.charge", env=env).returncode == 0
    assert json.loads(run_away("outbox", "status", "--json", env=env).stdout)["messages"] == 1
    assert run("outbox", "forward", env=env).returncode == 0
    assert not (tmp_path / "state").exists()


def test_waiting_for_a_task_that_is_kept_says_that_nothing_can_be_known(run_away: Run) -> None:
    done = run_away("task", "send", "shop.charge", "--outbox", "--wait", "--json")
    assert done.returncode == 1
    assert [task["outcome"] for task in json.loads(done.stdout)] == [None]
    assert "1 of 1 tasks are in the outbox, and have no outcome before they are sent" in done.stderr


def test_waiting_takes_the_older_tasks_along_and_ends_with_the_own_outcome(
    run: Run, run_away: Run, site: Site
) -> None:
    keep(run_away)
    with Answering(site, EMAIL_QUEUE.name):
        done = run("task", "send", "shop.charge", "--outbox", "--wait", "--timeout", "20s")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stderr


@pytest.fixture
def service(file: Path, tmp_path: Path, site: Site) -> Iterator["subprocess.Popen[str]"]:
    """A forwarder that looks every second."""
    site.declare_all()
    process = subprocess.Popen(
        (*FLEET, "--file", str(file), "outbox", "forward", "--every", "1s"),
        stderr=subprocess.PIPE,
        text=True,
        env=environ(tmp_path),
    )
    yield process
    process.kill()
    process.communicate(timeout=20)


def test_a_forwarder_that_goes_on_sends_what_is_kept_later(
    service: "subprocess.Popen[str]", run_away: Run, site: Site
) -> None:
    kept = [keep(run_away), keep(run_away)]
    assert service.stderr is not None
    sent = 0
    while sent < 2:
        line = service.stderr.readline()
        assert line, "it has ended"
        sent += int(line.split()[1]) if line.startswith("sent") else 0
    service.send_signal(signal.SIGTERM)
    assert service.wait(20) == 0
    assert arrived(site) == kept
