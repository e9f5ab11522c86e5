"""How are workers run side by side for a comparison? Ours and plain Celery's, one at a time, on one queue."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
        url = ready_urls(self.file, host="alpha", worker="bench")[0]
        with self._running(_ours(module), "ours.log") as child:
            child.await_ready(lambda: answers_ok(url), timeout_seconds=READY_SECONDS)
            yield child

    @contextmanager
    def plain(self, *, concurrency: int) -> Iterator[Child]:
        """Run `celery worker -l INFO`."""
        argv = (sys.executable, "-m", "celery", "-A", "tests.benchmarks.plain_worker", "worker")
        options = ("-l", "INFO", "-c", str(concurrency), "-n", "plain@bench")
        log = self.file.parent / "plain.log"
        with self._running((*argv, *options), log.name) as child:
            _await(lambda: " ready." in log.read_text(), "the worker should be ready", READY_SECONDS)
            yield child

    def seconds_to_ready(self) -> float:
        """Return how long `fleet worker` takes until it tells its service manager that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            address = f"fleet-bench-{os.getpid()}"
            manager.bind("\0" + address)
            manager.settimeout(READY_SECONDS)
            started = time.perf_counter()
            with self._running(_ours(), "ours.log", {"NOTIFY_SOCKET": f"@{address}"}):
                while b"READY=1" not in manager.recv(4096).split(b"\n"):
                    pass
                return time.perf_counter() - started

    @contextmanager
    def _running(
        self, argv: tuple[str, ...], log: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[Child]:
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
            Command(
                name=log,
                argv=argv,
                environ={**clean_environ(), **own, **more},
                log=path,
                cwd=self.file.parent,
            )
        )
        try:
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
    _await(lambda: bench.runs >= number, f"there should be {number} runs", limit_seconds)
    return time.monotonic()


def _ours(module: str = "fleet.cli.main") -> tuple[str, ...]:
    return sys.executable, "-m", module, "worker", "bench", "--host", "alpha"


def _await(condition: Callable[[], bool], what: str, limit_seconds: float) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {limit_seconds:g} s")
        time.sleep(POLL_SECONDS)


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
