"""How are workers run side by side for a comparison? Ours and plain Celery's, one at a time, on one queue."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet import Client, TaskCall
from fleet.daemons.process import Child, Command, free_ports
from tests.servers import Provisioned, answers_ok, clean_environ, ready_urls

READY_SECONDS = 45.0
POLL_SECONDS = 0.005
QUEUE = "fleet.bench"
#: runs before the clock starts, and those that it times
WARM, TIMED = 1000, 6000
#: each run leaves one byte in a file, which is all that it does
MODULE = """
import os

from celery import shared_task

DONE = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@shared_task(name="bench.nothing")
def nothing():
    os.write(DONE, b".")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A provisioned fleet whose queue ``bench`` is served by one worker of ours or of plain Celery."""

    file: Path
    url: str

    @classmethod
    def create(cls, provisioned: Provisioned, *, concurrency: int) -> "Bench":
        """Provision the broker for it."""
        file = provisioned(_body(concurrency))
        (file.parent / "bench_tasks.py").write_text(MODULE, encoding="utf-8")
        vhost = provisioned.vhost
        node, login = vhost.node, f"{vhost.node.admin_user}:{vhost.node.admin_password.reveal()}"
        # Plain Celery declares what it likes; a worker of the fleet may not.
        node.ctl("set_permissions", "--vhost", vhost.name, node.admin_user, ".*", ".*", ".*")
        return cls(file=file, url=f"amqp://{login}@{node.url.removeprefix('amqp://')}/{vhost.name}")

    @property
    def done(self) -> Path:
        """The file that holds one byte for each run."""
        return self.file.parent / "done"

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self.done.stat().st_size if self.done.exists() else 0

    @contextmanager
    def ours(self, module: str = "fleet.cli.main") -> Iterator[Child]:
        """Run `fleet worker`, with all that it does by default; ``module`` stands in for its command line."""
        argv = (sys.executable, "-m", module, "worker", "bench", "--host", "alpha")
        url = ready_urls(self.file, host="alpha", worker="bench")[0]
        with self._running(argv, "ours.log", lambda: answers_ok(url)) as child:
            yield child

    @contextmanager
    def plain(self, *, concurrency: int) -> Iterator[Child]:
        """Run `celery worker -l INFO`."""
        argv = (sys.executable, "-m", "celery", "-A", "tests.benchmarks.plain_worker", "worker")
        options = ("-l", "INFO", "-c", str(concurrency), "-n", "plain@bench")
        log = self.file.parent / "plain.log"
        with self._running((*argv, *options), log.name, lambda: " ready." in log.read_text()) as child:
            yield child

    @contextmanager
    def _running(self, argv: tuple[str, ...], log: str, is_ready: Callable[[], bool]) -> Iterator[Child]:
        own = {
            "FLEET_FILE": str(self.file),
            "PYTHONPATH": f"{self.file.parent}:{Path.cwd()}",
            "BENCH_DONE": str(self.done),
            "BENCH_URL": self.url,
            "BENCH_QUEUE": QUEUE,
        }
        path = self.file.parent / log
        path.unlink(missing_ok=True)
        child = Child.start(
            Command(name=log, argv=argv, environ=clean_environ() | own, log=path, cwd=self.file.parent)
        )
        try:
            child.await_ready(is_ready, timeout_seconds=READY_SECONDS)
            yield child
        finally:
            child.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a worker has done in one round."""

    per_second: float
    #: of the main process, in seconds
    cpu_per_task: float


def measure(bench: Bench, client: Client, worker: Callable[[], AbstractContextManager[Child]]) -> Measured:
    """Fill the queue, run one worker until it is empty, and time all but the beginning."""
    begun = bench.runs
    client.send_many(TaskCall("bench.nothing") for _ in range(WARM + TIMED)).require_accepted()
    with worker() as child:
        started = await_runs(bench, begun + WARM)
        first, cpu = bench.runs, cpu_seconds(child.pid)
        ended = await_runs(bench, begun + WARM + TIMED)
        used = cpu_seconds(child.pid) - cpu
    done = begun + WARM + TIMED - first
    return Measured(per_second=done / (ended - started), cpu_per_task=used / done)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that ``pid`` has used, without its children's."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def await_runs(bench: Bench, number: int, *, limit_seconds: float = 120) -> float:
    """Return when (monotonic seconds) that many runs were seen. Raises AssertionError."""
    deadline = time.monotonic() + limit_seconds
    while bench.runs < number:
        if time.monotonic() > deadline:
            raise AssertionError(f"{bench.runs} runs, not {number}, within {limit_seconds:g} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic()


def _body(concurrency: int) -> str:
    return f"""
[hosts.alpha]
address = "127.0.0.2"

[queues.bench]
tasks = ["bench.*"]

[workers.bench]
hosts = ["alpha"]
queues = ["bench"]
concurrency = {concurrency}
metrics_port = {free_ports(1)[0]}

[workers.rest]
hosts = ["alpha"]
queues = ["email", "default"]

[workers.backup]
hosts = ["alpha"]
queues = ["backup"]

[tasks]
imports = ["bench_tasks"]
"""
