"""What do the hooks cost in a real worker? CPU of its main process for the same tasks, with and without."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from fleet.daemons.process import Child, Command, free_ports
from fleet.fleetfile import read
from fleet.publish import Publisher, TaskMessage
from fleet.publish.message import new_task_id
from fleet.routes import route
from fleet.secrets import Secret
from tests.benchmarks.workers import cpu_seconds
from tests.servers import Provisioned, answers_ok, clean_environ, ready_urls

TASKS = 1500
ROUNDS = 4
COUNTED = ("fleet.cli.main", "worker")
UNCOUNTED = ("tests.benchmarks.uncounted_worker", "worker")
MODULE = """
from celery import shared_task

@shared_task(name="bench.nothing")
def nothing():
    pass
"""


def test_the_hooks_cost_less_than_a_tenth_of_what_the_main_process_does(
    provisioned: Provisioned, tmp_path: Path
) -> None:
    (tmp_path / "bench_tasks.py").write_text(MODULE, encoding="utf-8")
    file = provisioned(body())
    password = provisioned.vhost.password
    rounds = [
        (seconds_per_task(file, password, UNCOUNTED), seconds_per_task(file, password, COUNTED))
        for _ in range(ROUNDS)
    ]
    without, with_hooks = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"\nmain process, per task: {without * 1e6:.0f} µs without, {with_hooks * 1e6:.0f} µs with hooks"
        f" = {with_hooks / without:.3f}"
    )
    assert with_hooks / without < 1.10


def body() -> str:
    return f"""
[hosts.alpha]
address = "127.0.0.2"

[queues.bench]
tasks = ["bench.*"]

[workers.bench]
hosts = ["alpha"]
queues = ["bench", "email", "default"]
metrics_port = {free_ports(1)[0]}

[workers.backup]
hosts = ["alpha"]
queues = ["backup"]

[tasks]
imports = ["bench_tasks"]
"""


def seconds_per_task(file: Path, password: str, module: tuple[str, ...]) -> float:
    fleet = read(str(file))
    queue = route(fleet, "bench.nothing")
    with running_worker(file, module) as child, Publisher(fleet, Secret(password)) as publisher:
        before = cpu_seconds(child.pid)
        publisher.deliver(
            [TaskMessage(task="bench.nothing", queue=queue, task_id=new_task_id()) for _ in range(TASKS)]
        )
        await_idle(child.pid)
        return (cpu_seconds(child.pid) - before) / TASKS


@contextmanager
def running_worker(file: Path, module: tuple[str, ...]) -> Iterator[Child]:
    command = Command(
        name="fleet worker bench",
        argv=(sys.executable, "-m", *module, "bench", "--host", "alpha", "-l", "error"),
        environ=clean_environ() | {"FLEET_FILE": str(file), "PYTHONPATH": f"{file.parent}:{Path.cwd()}"},
        log=file.parent / "worker.log",
        cwd=file.parent,
    )
    child = Child.start(command)
    try:
        url = ready_urls(file, host="alpha", worker="bench")[0]
        child.await_ready(lambda: answers_ok(url), timeout_seconds=45)
        yield child
    finally:
        child.stop()


def await_idle(pid: int, *, quiet_seconds: float = 1.0, limit_seconds: float = 60) -> None:
    """Return when the process has used no CPU to speak of for a second."""
    deadline = time.monotonic() + limit_seconds
    last = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet_seconds)
        now = cpu_seconds(pid)
        if now - last < 0.02:
            return
        last = now
    raise AssertionError("the worker has not become idle")
