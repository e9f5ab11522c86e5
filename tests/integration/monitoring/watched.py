"""A small fleet with real workers under the eyes of a real Prometheus, once for all tests of this room."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from fleet.daemons.files import write_private
from fleet.daemons.packages import provide
from fleet.daemons.process import Child, Command, free_ports, silent
from fleet.daemons.prometheus import PrometheusServer, promtool
from fleet.daemons.rabbitmq import MARKER, PACKAGE, RabbitNode
from tests.broker import BrokerVhost, hosts_and_workers
from tests.servers import answers_ok, clean_environ, ready_urls

FLEET = ("-m", "fleet.cli.main")
BODY = """
[backups.etc]
hosts = ["*"]
sources = ["{sources}"]
destination = "{destination}"

[schedule.nightly]
backup = "etc"
crontab = "0 3 * * *"

[urls.management]
url = "{management}"

[broker.users.{operator}]
role = "operator"
password = "file:{operator_password}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What runs."""

    vhost: BrokerVhost
    file: Path
    prometheus: PrometheusServer
    #: directories with fleet, promtool and RabbitMQ's tools
    path: str
    environ: Mapping[str, str]
    workers: dict[str, Child]

    def start_worker(self, name: str) -> None:
        """Start worker ``name`` of host alpha and wait until it is ready."""
        self.workers[name] = _start_worker(name, self.file, self.environ, self.vhost.directory)

    def stop_workers(self) -> None:
        for child in self.workers.values():
            child.signal(signal.SIGTERM)
        for child in self.workers.values():
            child.stop()

    def run(self, *argv: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            argv,
            env={**self.environ, "PATH": self.path},
            cwd=self.vhost.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def api(self, path: str) -> Any:
        answer = requests.get(f"{self.prometheus.url}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def poll(self, condition: Callable[[], bool], *, seconds: float = 45) -> bool:
        """Return whether ``condition`` became true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)
        return True


@contextmanager
def watched_fleet(rabbit: RabbitNode, directory: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        vhost = BrokerVhost.name_only(rabbit, directory)
        stack.callback(vhost.delete)
        file = _write_fleet_file(vhost)
        environ = clean_environ() | {"FLEET_FILE": str(file)}
        path = f"{_tools(rabbit, directory)}:{environ['PATH']}"
        _fleet("provision", "broker", "--yes", environ=environ)
        beat = free_ports(1)[0]
        stack.callback(_start_beat(beat, environ, directory).stop)
        prometheus = stack.enter_context(_start_prometheus(rabbit, directory, environ, beat))
        watched = Watched(
            vhost=vhost, file=file, prometheus=prometheus, path=path, environ=environ, workers={}
        )
        stack.callback(watched.stop_workers)
        for worker in ("backup", "shared"):
            watched.start_worker(worker)
        _fleet("task", "send", "fleet.check_urls", "--wait", environ=environ)
        _fleet("backup", "run", "etc", "--host", "alpha", "--wait", environ=environ)
        yield watched


def _write_fleet_file(vhost: BrokerVhost) -> Path:
    sources, destination = vhost.directory / "etc", vhost.directory / "copies"
    sources.mkdir()
    destination.mkdir()
    (sources / "motd").write_text("hello\n")
    extra = BODY.format(
        sources=sources,
        destination=destination,
        management=vhost.node.management_url,
        operator=f"operator-{vhost.name}",
        operator_password=vhost.password_file,
    )
    return vhost.write_fleet_toml(hosts_and_workers() + extra)


def _fleet(*arguments: str, environ: Mapping[str, str]) -> str:
    argv = (sys.executable, *FLEET, *arguments)
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _start_worker(worker: str, file: Path, environ: Mapping[str, str], directory: Path) -> Child:
    command = Command(
        name=f"fleet worker {worker}",
        argv=(sys.executable, *FLEET, "worker", worker, "--host", "alpha"),
        environ=environ,
        log=directory / f"{worker}.log",
        cwd=directory,
    )
    child = Child.start(command)
    urls = ready_urls(file, host="alpha", worker=worker)
    child.await_ready(lambda: all(map(answers_ok, urls)), timeout_seconds=45)
    return child


def _start_beat(port: int, environ: Mapping[str, str], directory: Path) -> Child:
    command = Command(
        name="fleet beat",
        argv=(sys.executable, *FLEET, "beat", "--metrics-port", str(port), "--metrics-address", "127.0.0.1"),
        environ=environ,
        log=directory / "beat.log",
        cwd=directory,
    )
    child = Child.start(command)
    child.await_ready(lambda: answers_ok(f"http://127.0.0.1:{port}/readyz"), timeout_seconds=30)
    return child


@contextmanager
def _start_prometheus(
    rabbit: RabbitNode, directory: Path, environ: Mapping[str, str], beat: int
) -> Iterator[PrometheusServer]:
    files = {name: directory / name for name in ("targets.json", "rules.yml", "prometheus.yml")}
    _fleet("prometheus", "targets", "--output", str(files["targets.json"]), environ=environ)
    _fleet("prometheus", "rules", "--output", str(files["rules.yml"]), environ=environ)
    options = {
        "--targets-file": files["targets.json"],
        "--rules-file": files["rules.yml"],
        "--broker": f"127.0.0.1:{rabbit.prometheus_port}",
        "--beat": f"127.0.0.1:{beat}",
        "--interval": 1,
        "--output": files["prometheus.yml"],
    }
    words = [str(word) for option in options.items() for word in option]
    _fleet("prometheus", "config", *words, environ=environ)
    with PrometheusServer.start(directory / "prometheus", configuration=files["prometheus.yml"]) as server:
        yield server


def _tools(rabbit: RabbitNode, directory: Path) -> Path:
    """Return a directory with the programs of the runbooks, as an operator has them on the path."""
    tools = directory / "bin"
    tools.mkdir()
    (tools / "promtool").symlink_to(promtool())
    (tools / "fleet").symlink_to(Path(sys.executable).parent / "fleet")
    programs = provide(PACKAGE, marker=MARKER, environ=rabbit.ctl_environ, report=silent)
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in rabbit.ctl_environ.items())
    for name in ("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"):
        tool = programs.path(f"usr/lib/rabbitmq/bin/{name}")
        text = f'#!/bin/sh\nexec env {settings} {shlex.quote(str(tool))} "$@"\n'
        write_private(tools / name, text, mode=0o700)
    return tools
