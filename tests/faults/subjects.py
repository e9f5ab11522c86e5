"""Who is put to the test? The fleet, or plain Celery with one of two settings; each on a vhost of its own."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet.daemons.process import Command, free_ports
from fleet.worker.context import SHORT_PREFETCH
from tests.broker import BrokerVhost
from tests.faults import plain
from tests.servers import answers_ok, clean_environ, ready_urls

ROOT = Path(__file__).parents[2]
HOSTS = ("alpha", "beta")
SHORT, LONG = "short", "long"
#: children of a worker for short tasks, and for long ones
CONCURRENCY = {SHORT: 2, LONG: 1}
#: messages that a worker of the fleet for short tasks may hold, running and prefetched
HELD = CONCURRENCY[SHORT] * SHORT_PREFETCH
#: senders of short tasks in a case, each with one unconfirmed task at most
PUBLISHERS = 2
#: tasks that may run again when the broker goes from under everybody. It takes back what it still counts as
#: unacknowledged, and of each worker that is at most its prefetch: it hands out no more before it has kept an
#: acknowledgement. What had ended and comes back to its own worker is settled; another worker cannot know.
#: And a sender whose confirm was lost sends its task once more.
LOST_WITH_BROKER = HELD * len(HOSTS) + PUBLISHERS


class Subject(Protocol):
    """What a case needs of the software under test."""

    @property
    def name(self) -> str:
        """How the table calls it."""
        ...

    @property
    def vhost(self) -> BrokerVhost:
        """Where its queues are."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """What its workers and publishers need."""
        ...

    def work_queues(self) -> tuple[str, ...]:
        """Return the queues that must be empty in the end."""
        ...

    def dead_letter_queues(self) -> tuple[str, ...]:
        """Return where given-up tasks stand."""
        ...

    def limit(self, kind: str, length: int) -> None:
        """See that the queue of ``kind`` holds no more than ``length`` messages."""
        ...

    def worker(self, kind: str, host: str) -> tuple[str, ...]:
        """Return the argv of a worker."""
        ...

    def is_ready(self, kind: str, host: str, log: Path) -> bool:
        """Tell whether that worker, which logs to ``log``, takes tasks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSubject:
    """The fleet."""

    vhost: BrokerVhost
    file: Path
    name: str = "fleet"

    @classmethod
    def create(cls, vhost: BrokerVhost, *, short: str = "") -> "FleetSubject":
        """Write the fleet file, with ``short`` in the table of the short queue, and provision the broker."""
        file = vhost.write_fleet_toml(fleet_body(short=short) + _operator(vhost))
        made = cls(vhost=vhost, file=file)
        made.provision()
        return made

    def provision(self) -> None:
        """Bring the broker to what the fleet file says."""
        self._fleet("provision", "broker", "--yes")

    def replay(self, reason: str) -> None:
        """Send the tasks that were dead-lettered for ``reason`` back to their queues."""
        self._fleet("dead-letters", "replay", "--reason", reason, "--yes")

    def _fleet(self, *arguments: str) -> None:
        done = subprocess.run(
            (sys.executable, "-m", "fleet.cli.main", *arguments),
            env=dict(self.environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @property
    def environ(self) -> Mapping[str, str]:
        return clean_environ() | {"FLEET_FILE": str(self.file), "PYTHONPATH": str(ROOT)}

    def work_queues(self) -> tuple[str, ...]:
        levels = tuple(f"celery_delayed_{level}" for level in range(28))
        return (f"fleet.{SHORT}", *(f"fleet.{LONG}.{host}" for host in HOSTS), *levels)

    def dead_letter_queues(self) -> tuple[str, ...]:
        return f"fleet.{SHORT}.dlq", f"fleet.{LONG}.dlq"

    def limit(self, kind: str, length: int) -> None:
        # The fleet file says so already, and provisioning has done it.
        assert f"max_length = {length}" in self.file.read_text(), kind

    def worker(self, kind: str, host: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "fleet.cli.main", "worker", kind, "--host", host)

    def is_ready(self, kind: str, host: str, log: Path) -> bool:
        return all(map(answers_ok, ready_urls(self.file, host=host, worker=kind)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSubject:
    """Plain Celery."""

    vhost: BrokerVhost
    #: `defaults` or `best`
    settings: str

    @classmethod
    def create(cls, vhost: BrokerVhost, settings: str) -> "PlainSubject":
        """Declare the queues that this setting has."""
        plain.declare(plain.make(vhost.url, settings))
        return cls(vhost=vhost, settings=settings)

    @property
    def name(self) -> str:
        return f"Celery, {self.settings}"

    @property
    def environ(self) -> Mapping[str, str]:
        own = {"FAULTS_URL": self.vhost.url, "FAULTS_SETTINGS": self.settings, "PYTHONPATH": str(ROOT)}
        return clean_environ() | own

    def work_queues(self) -> tuple[str, ...]:
        levels = tuple(f"celery_delayed_{level}" for level in range(28))
        return (SHORT, LONG, *levels)

    def dead_letter_queues(self) -> tuple[str, ...]:
        return tuple(map(plain.dead_letter_queue, (SHORT, LONG)))

    def limit(self, kind: str, length: int) -> None:
        policy = {"pattern": f"^{kind}$", "apply-to": "queues", "definition": {"max-length": length}}
        self.vhost.api("PUT", f"policies/{self.vhost.name}/limit", policy)

    def worker(self, kind: str, host: str) -> tuple[str, ...]:
        name = ("-n", f"{kind}@{host}", "-Q", kind, "-c", str(CONCURRENCY[kind]), "-l", "INFO")
        return (sys.executable, "-m", "celery", "-A", "tests.faults.plain", "worker", *name)

    def is_ready(self, kind: str, host: str, log: Path) -> bool:
        return f"{kind}@{host} ready." in log.read_text(encoding="utf-8", errors="replace")


def fleet_body(*, short: str = "", addresses: Mapping[str, str] | None = None) -> str:
    """Return the fleet file's tables: queue ``short`` on all hosts, queue ``long`` on each."""
    hosts = addresses or {name: f"127.0.0.{number}" for number, name in enumerate(HOSTS, start=2)}
    tables = "\n".join(f'[hosts.{name}]\naddress = "{address}"' for name, address in hosts.items())
    short_port, long_port, backup_port = free_ports(3)
    return f"""\
{tables}

[queues.{LONG}]
tasks = ["faults.long"]
long = true
per_host = true
max_runtime = "10m"

[queues.{SHORT}]
tasks = ["faults.*"]
max_runtime = "5m"
{short}

[workers.{SHORT}]
hosts = ["*"]
queues = ["{SHORT}", "email", "default"]
concurrency = {CONCURRENCY[SHORT]}
metrics_port = {short_port}

[workers.{LONG}]
hosts = ["*"]
queues = ["{LONG}"]
concurrency = {CONCURRENCY[LONG]}
metrics_port = {long_port}

[workers.backup]
hosts = ["*"]
queues = ["backup"]
metrics_port = {backup_port}

[tasks]
imports = ["fault_tasks"]
"""


def _operator(vhost: BrokerVhost) -> str:
    """Return the table of the user who looks after dead letters."""
    return f"""
[broker.users.operator-{vhost.user}]
role = "operator"
password = "file:{vhost.password_file}"
"""


def worker_command(
    subject: Subject, kind: str, host: str, *, log: Path, environ: Mapping[str, str]
) -> Command:
    """Return what starts a worker of ``subject``."""
    path = f"{log.parent}:{ROOT}"
    return Command(
        name=f"{subject.name} worker {kind} on {host}",
        argv=subject.worker(kind, host),
        environ=dict(subject.environ) | {"PYTHONPATH": path} | dict(environ),
        log=log,
        cwd=log.parent,
    )
