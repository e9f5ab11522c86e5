"""Bad input that only a real broker, host or worker can answer: one golden transcript per case.

``WRITE_TRANSCRIPTS=1`` rewrites them; read the difference before you commit it.
"""

import os
import re
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.broker import BrokerVhost, metrics_ports
from tests.servers import Provisioned, RunFleet, StartWorker

DIRECTORY = Path(__file__).parents[1] / "cases" / "bad-input-live"

REST = """
[hosts.alpha]
address = "127.0.0.1"

[workers.backup]
queues = ["backup"]
concurrency = 1
metrics_port = {backup_port}

[workers.shared]
queues = ["email", "default"]
concurrency = 1
metrics_port = {shared_port}

[backups.docs]
sources = ["{directory}/docs"]
destination = "{directory}/copies"

[backups.blocked]
sources = ["{directory}/docs"]
destination = "{directory}/a-file/copies"

[backups.gone]
sources = ["{directory}/no-such-directory"]
destination = "{directory}/copies"

[mail]
from = "fleet@example.org"
templates = "mail"

[mail.smtp]
host = "127.0.0.1"
port = 1
security = "none"
"""

SHARED = "fleet worker shared --host alpha --wait-for-broker 1"
BACKUP = "fleet backup run {name} --host alpha --wait --timeout 30"
MAIL = "fleet mail send --to {to} --template {template}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a case may break before its command runs."""

    vhost: BrokerVhost
    file: Path

    def replace(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))


def as_it_is(scene: Scene) -> None:
    del scene


def without_broker(scene: Scene) -> None:
    scene.replace(f'"{scene.vhost.node.url}"', '"amqp://127.0.0.1:1"')


def without_management(scene: Scene) -> None:
    scene.replace(f'"{scene.vhost.node.management_url}"', '"http://127.0.0.1:1"')


def with_wrong_password(scene: Scene) -> None:
    scene.vhost.password_file.write_text("wrong\n")


def with_wrong_admin_password(scene: Scene) -> None:
    scene.replace(str(scene.vhost.node.admin_password_file), str(scene.vhost.password_file))


def without_vhost(scene: Scene) -> None:
    scene.vhost.api("DELETE", f"vhosts/{scene.vhost.name}")


def without_queue(scene: Scene) -> None:
    scene.vhost.api("DELETE", f"queues/{scene.vhost.name}/fleet.email")


def without_secret(scene: Scene) -> None:
    scene.vhost.password_file.unlink()


Prepare = Callable[[Scene], None]

#: name → (what is broken, command, exit status)
CASES: dict[str, tuple[Prepare, str, int]] = {
    "worker-broker-unreachable": (without_broker, SHARED, 5),
    "worker-wrong-password": (with_wrong_password, SHARED, 1),
    "worker-missing-vhost": (without_vhost, SHARED, 1),
    "worker-missing-queue": (without_queue, SHARED, 1),
    "worker-missing-secret": (without_secret, SHARED, 2),
    "worker-unknown-worker": (as_it_is, "fleet worker shard --host alpha", 2),
    "worker-unknown-host": (as_it_is, "fleet worker shared --host gamma", 2),
    "send-broker-unreachable": (without_broker, "fleet task send fleet.check_urls", 5),
    "send-wrong-password": (with_wrong_password, "fleet task send fleet.check_urls", 1),
    "send-missing-vhost": (without_vhost, "fleet task send fleet.check_urls", 1),
    "send-missing-queue": (without_queue, MAIL.format(to="ada@example.org", template="hello"), 1),
    "send-unknown-task": (as_it_is, "fleet task send shop.reprice", 2),
    "send-arguments-not-json": (as_it_is, "fleet task send fleet.check_urls --json-args {", 2),
    "provision-broker-unreachable": (without_management, "fleet provision broker --check", 5),
    "provision-wrong-password": (with_wrong_admin_password, "fleet provision broker --check", 1),
    "backup-unknown": (as_it_is, BACKUP.format(name="dosc"), 2),
    "mail-invalid-address": (as_it_is, MAIL.format(to="nobody", template="hello"), 2),
    "mail-missing-template": (as_it_is, MAIL.format(to="ada@example.org", template="helo"), 2),
    "mail-bad-template": (as_it_is, "fleet mail preview --template broken", 2),
}


@pytest.fixture
def scene(provisioned: Provisioned, tmp_path: Path) -> Scene:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page").write_text("text\n")
    (tmp_path / "a-file").write_text("")
    (tmp_path / "mail").mkdir()
    for part in ("subject.txt", "txt"):
        (tmp_path / "mail" / f"hello.{part}").write_text("hello\n")
        (tmp_path / "mail" / f"broken.{part}").write_text("hello {{ name\n")
    backup_port, shared_port = metrics_ports()
    body = REST.format(directory=tmp_path, backup_port=backup_port, shared_port=shared_port)
    return Scene(vhost=provisioned.vhost, file=provisioned(body))


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_clear_answer_and_changes_nothing(
    name: str, scene: Scene, run_fleet: RunFleet
) -> None:
    prepare, command, exit_status = CASES[name]
    prepare(scene)
    answer = transcript(command, scene, run_fleet)
    compare(name, answer)
    assert answer.endswith(f"exit status {exit_status}\n")
    assert messages(scene) == 0


@pytest.mark.parametrize("name", ["blocked", "gone"])
def test_a_backup_that_cannot_run_says_why_and_is_dead_lettered(
    name: str, scene: Scene, run_fleet: RunFleet, start_worker: StartWorker
) -> None:
    start_worker(scene.file, "backup")
    compare(f"backup-{name}", transcript(BACKUP.format(name=name), scene, run_fleet))
    assert not (scene.file.parent / "copies").exists()


def test_a_port_in_use_is_named_with_who_to_ask(scene: Scene, run_fleet: RunFleet) -> None:
    with listening() as port:
        text = scene.file.read_text()
        scene.file.write_text(
            re.sub(r"metrics_port = \d+\n\n\[backups.docs", f"metrics_port = {port}\n\n[backups.docs", text)
        )
        compare("worker-port-in-use", transcript(SHARED, scene, run_fleet))


def transcript(command: str, scene: Scene, run_fleet: RunFleet) -> str:
    done = run_fleet(*shlex.split(command)[1:], file=scene.file, timeout=60)
    text = f"$ {command}\n{done.stdout}{done.stderr}exit status {done.returncode}\n"
    return masked(text, scene)


def masked(text: str, scene: Scene) -> str:
    """Hide what differs from run to run."""
    vhost = scene.vhost
    for seen, shown in (
        (str(vhost.password_file), "/run/celery.password"),
        (str(scene.file.parent), "/srv"),
        (vhost.observer, "observer"),
        (vhost.user, "celery"),
        (vhost.name, "celery"),
        (str(vhost.node.admin_password_file.parent), "/run/node"),
        (f":{vhost.node.port}", ":5672"),
        (f":{vhost.node.management_url.rpartition(':')[2]}", ":15672"),
    ):
        text = text.replace(seen, shown)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"127\.0\.0\.1:\d{4,5}(?!\d)", "127.0.0.1:PORT", text)
    return re.sub(r"(sport = :|after |in )\d[\d.]*", r"\1N", text)


def compare(name: str, answer: str) -> None:
    path = DIRECTORY / f"{name}.expected"
    if os.environ.get("WRITE_TRANSCRIPTS"):
        path.write_text(answer)
    assert answer == path.read_text()
    assert "Traceback" not in answer


def messages(scene: Scene) -> int:
    """Return how many task messages the vhost holds; a vhost that is gone holds none."""
    vhosts = {row["name"] for row in scene.vhost.api("GET", "vhosts")}
    if scene.vhost.name not in vhosts:
        return 0
    rows = scene.vhost.api("GET", f"queues/{scene.vhost.name}")
    return sum(row.get("messages", 0) for row in rows if row.get("type") == "quorum")


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
