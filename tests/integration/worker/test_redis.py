"""What still holds on Redis, the reduced profile."""

import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.daemons.files import write_private
from fleet.daemons.process import Child
from fleet.daemons.redis import RedisServer
from fleet.daemons.smtp import SmtpSink
from tests.broker import metrics_ports
from tests.integration.worker.conftest import eventually
from tests.servers import RunFleet, StartWorker, clean_environ


@dataclass(frozen=True, kw_only=True)
class RedisFleet:
    """A fleet on a Redis of the test's own, with hosts alpha and beta."""

    redis: RedisServer
    directory: Path
    run_fleet: RunFleet
    start_worker: StartWorker

    @property
    def file(self) -> Path:
        return self.directory / "fleet.toml"

    @property
    def log(self) -> Path:
        return self.directory / "probe.log"

    @property
    def environ(self) -> dict[str, str]:
        return {"PROBE_LOG": str(self.log)}

    def write(self, body: str, *, visibility_timeout: str, max_runtime: str) -> None:
        password = self.directory / "redis.password"
        write_private(password, self.redis.password.reveal() + "\n")
        shutil.copy(Path(__file__).with_name("probe_tasks.py"), self.directory)
        backup_port, shared_port = metrics_ports()
        self.file.write_text(f"""
[fleet]
name = "test"
timezone = "UTC"
state_dir = "{self.directory / "state"}"

[broker]
url = "{self.redis.url}"
password = "file:{password}"
visibility_timeout = "{visibility_timeout}"
result_backend = "{self.redis.url.removesuffix("0")}1"
result_password = "file:{password}"

[hosts.alpha]
address = "127.0.0.2"

[hosts.beta]
address = "127.0.0.3"

[queues.backup]
max_runtime = "{max_runtime}"
long = true
per_host = true
tasks = ["fleet.backup", "fleet.restore"]

[queues.email]
max_runtime = "{max_runtime}"
tasks = ["fleet.send_mail"]

[queues.default]
max_runtime = "{max_runtime}"
tasks = ["fleet.check_urls", "probe.*"]

[workers.backup]
hosts = ["*"]
queues = ["backup"]
concurrency = 1
metrics_port = {backup_port}

[workers.shared]
hosts = ["*"]
queues = ["email", "default"]
metrics_port = {shared_port}

[tasks]
imports = ["probe_tasks"]
{body}""")

    def start(self, worker: str, *, host: str = "alpha") -> Child:
        return self.start_worker(self.file, worker, host=host, env=self.environ)

    def run(self, *arguments: str) -> str:
        done = self.run_fleet(*arguments, file=self.file, env=clean_environ() | self.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def notes(self, word: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.split()[2] == word]


@pytest.fixture
def redis_fleet(
    redis: RedisServer, tmp_path: Path, run_fleet: RunFleet, start_worker: StartWorker
) -> RedisFleet:
    return RedisFleet(redis=redis, directory=tmp_path, run_fleet=run_fleet, start_worker=start_worker)


def test_backup_mail_and_results_work(redis_fleet: RedisFleet, smtp: SmtpSink, tmp_path: Path) -> None:
    source, copies, templates = (tmp_path / name for name in ("source", "copies", "templates"))
    for directory in (source, copies, templates):
        directory.mkdir()
    (source / "file").write_text("precious")
    (templates / "hello.subject.txt").write_text("Hello")
    (templates / "hello.txt").write_text("Hello {{ name }}")
    redis_fleet.write(
        f"""
[backups.tree]
hosts = ["alpha"]
sources = ["{source}"]
destination = "{copies}"

[mail]
from = "fleet@example.org"
templates = "{templates}"
retry_max = "1m"

[mail.smtp]
host = "127.0.0.1"
port = {smtp.port}
security = "none"
""",
        visibility_timeout="2m",
        max_runtime="1m",
    )
    redis_fleet.start("backup")
    redis_fleet.start("shared")
    redis_fleet.run("backup", "run", "tree", "--host", "alpha", "--wait")
    mail = ("mail", "send", "--to", "ann@example.org", "--template", "hello", "--context", '{"name": "Ann"}')
    redis_fleet.run(*mail, "--wait")

    assert (copies / "alpha" / "tree").is_dir()
    assert [received.message()["Subject"] for received in smtp.messages()] == ["Hello"]


def test_the_task_of_a_killed_worker_runs_elsewhere_after_the_visibility_timeout(
    redis_fleet: RedisFleet,
) -> None:
    redis_fleet.write("", visibility_timeout="6s", max_runtime="5s")
    doomed = redis_fleet.start("shared")
    redis_fleet.run("task", "send", "probe.sleep", "--json-args", '{"seconds": 3}')
    eventually(lambda: redis_fleet.notes("start"))
    doomed.kill()
    redis_fleet.start("shared", host="beta")
    eventually(lambda: redis_fleet.notes("end"), seconds=40)
    assert len(redis_fleet.notes("start")) == 2


def test_a_task_longer_than_the_visibility_timeout_is_killed_before_it_could_run_beside_itself(
    redis_fleet: RedisFleet,
) -> None:
    redis_fleet.write("", visibility_timeout="3s", max_runtime="2s")
    redis_fleet.start("shared")
    redis_fleet.start("shared", host="beta")
    redis_fleet.run("task", "send", "probe.sleep", "--json-args", '{"seconds": 30}')
    eventually(lambda: redis_fleet.notes("start"))
    redis_fleet.run("task", "send", "probe.sleep", "--json-args", '{"seconds": 1}')
    eventually(lambda: redis_fleet.notes("end"))
    # The first one is over when the second has ended a visibility timeout later.
    redis_fleet.run("task", "send", "probe.sleep", "--json-args", '{"seconds": 1.5}')
    redis_fleet.run("task", "send", "probe.sleep", "--json-args", '{"seconds": 1.6}')
    eventually(lambda: len(redis_fleet.notes("end")) == 3)
    assert len([line for line in redis_fleet.notes("start") if line.endswith(" 30")]) == 1


def test_a_visibility_timeout_below_the_longest_task_is_refused(redis_fleet: RedisFleet) -> None:
    redis_fleet.write("", visibility_timeout="60s", max_runtime="60s")
    done = redis_fleet.run_fleet("worker", "shared", "--host", "alpha", file=redis_fleet.file)
    assert done.returncode == 2
    assert "visibility_timeout" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM)], ids=str)
def test_a_worker_that_is_told_to_stop_drains_and_at_a_second_signal_lets_the_task_run_again(
    redis_fleet: RedisFleet, signals: tuple[signal.Signals, ...]
) -> None:
    redis_fleet.write("", visibility_timeout="60s", max_runtime="50s")
    worker = redis_fleet.start("shared")
    redis_fleet.run("task", "send", "probe.hold")
    eventually(lambda: redis_fleet.notes("start"))
    for number in signals:
        worker.signal(number)
        time.sleep(0.3)  # two of one signal at once are one to the kernel
    is_cut = len(signals) == 2
    if is_cut:
        assert worker.wait(15)
    redis_fleet.log.with_name("probe.log.release").touch()
    assert worker.wait(15)
    assert len(redis_fleet.notes("end")) == (0 if is_cut else 1)
    redis_fleet.start("shared", host="beta")
    redis_fleet.run("task", "send", "probe.ok", "--json-args", '{"word": "later"}', "--wait")
    eventually(lambda: len(redis_fleet.notes("end")) == 1)
    assert len(redis_fleet.notes("start")) == len(signals)
