"""A small fleet whose tasks note what they do, and the means to send to it and to look at it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import amqp
import pytest
import requests

from fleet.daemons.process import Child
from fleet.fleetfile import read
from fleet.ops.provision import provision_broker
from fleet.publish import Publisher, TaskMessage, new_task_id
from fleet.routes import dead_letter_queue_name, route
from fleet.secrets import resolve
from tests.broker import BrokerVhost, metrics_ports
from tests.integration.worker.proxy import Cable
from tests.servers import Provisioned, StartWorker

WEB_PASSWORD = "web-password"
OPERATOR_PASSWORD = "operator-password"
ENVIRON = {"WEB_PASSWORD": WEB_PASSWORD, "OPERATOR_PASSWORD": OPERATOR_PASSWORD}


def eventually(look: Callable[[], object], *, seconds: float = 20, what: str = "") -> None:
    """Wait until ``look()`` is true, for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A provisioned fleet: queue ``shop`` (short, shared) and ``slow`` (long, per host)."""

    file: Path
    vhost: BrokerVhost
    log: Path
    environ: dict[str, str]
    start_worker: StartWorker = field(repr=False)
    workers: list[Child] = field(default_factory=list, repr=False)

    def start(self, worker: str | None = "shared", *, host: str = "alpha", **environ: str) -> Child:
        """Start a worker, or all of the host's under a supervisor, and wait until it is ready."""
        child = self.start_worker(self.file, worker, host=host, env=self.environ | environ)
        self.workers.append(child)
        return child

    def send(
        self,
        task: str,
        *args: object,
        queue: str | None = None,
        host: str | None = None,
        key: str | None = None,
        traceparent: str | None = None,
        **kwargs: object,
    ) -> str:
        fleet = read(str(self.file))
        password = fleet.broker.password
        assert password is not None
        message = TaskMessage(
            task=task,
            queue=route(fleet, task, queue=queue, host=host),
            task_id=new_task_id(),
            args=args,
            kwargs=kwargs,
            key=key,
            traceparent=traceparent,
        )
        with Publisher(fleet, resolve(password, environ={})) as publisher:
            publisher.send(message)
        return message.task_id

    def worker_logs(self) -> str:
        """Return what the workers of this test wrote."""
        return "".join(path.read_text() for path in self.file.parent.glob("worker-*.log"))

    def release(self) -> None:
        """Let every ``probe.hold`` end."""
        self.log.with_name(f"{self.log.name}.release").touch()

    def notes(self, *words: str) -> list[list[str]]:
        """Return what tasks noted (without time and pid) that begins with ``words``."""
        if not self.log.exists():
            return []
        lines = [line.split()[2:] for line in self.log.read_text().splitlines()]
        return [line for line in lines if tuple(line[: len(words)]) == words]

    def expect(self, *words: str, times: int = 1, seconds: float = 20) -> None:
        eventually(
            lambda: len(self.notes(*words)) >= times, seconds=seconds, what=f"{times} times {' '.join(words)}"
        )

    def dead_letters(self, queue: str, *, at_least: int, seconds: float = 15) -> list[dict[str, Any]]:
        """Return the messages of ``queue``'s dead-letter queue, once there are that many."""
        name = dead_letter_queue_name(queue)
        found: list[dict[str, Any]] = []

        def fetch() -> bool:
            body = {"count": 100, "ackmode": "ack_requeue_false", "encoding": "auto"}
            found.extend(self.vhost.api("POST", f"queues/{self.vhost.name}/{name}/get", body))
            return len(found) >= at_least

        eventually(fetch, seconds=seconds, what=f"{at_least} messages in {name}")
        return found

    def depth(self, queue: str) -> int:
        """Return how many messages the broker queue holds, unacknowledged ones included.

        A passive declaration would count the ready ones only, and the HTTP API tells the past.
        """
        arguments = ("list_queues", "--vhost", self.vhost.name, "--formatter", "json", "name", "messages")
        rows = json.loads(self.vhost.node.ctl("--quiet", *arguments))
        return next(int(row["messages"]) for row in rows if row["name"] == queue)

    def metric(self, worker: str, name: str, *, host: str = "alpha", **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        fleet = read(str(self.file))
        declared, place = fleet.worker(worker), fleet.host(host)
        assert declared is not None
        assert place is not None
        text = requests.get(f"http://{place.address}:{declared.metrics_port}/metrics", timeout=5).text
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(each in line for each in wanted))

    @contextmanager
    def cable(self) -> Iterator[Cable]:
        """Let what is started from now on reach the broker through a cable that can be pulled."""
        with Cable(self.vhost.node.port) as cable:
            here, there = f"127.0.0.1:{self.vhost.node.port}", f"127.0.0.1:{cable.port}"
            self.file.write_text(self.file.read_text().replace(here, there))
            yield cable

    def close_connections(self) -> None:
        """Let the broker close every connection of this vhost."""
        self.vhost.node.ctl("close_all_connections", "--vhost", self.vhost.name, "closed by a test")

    def admin_connection(self) -> amqp.Connection:
        """Return a connection that may do everything in the vhost."""
        node = self.vhost.node
        connection = amqp.Connection(
            host=self.vhost.address,
            userid=node.admin_user,
            password=node.admin_password.reveal(),
            virtual_host=self.vhost.name,
        )
        connection.connect()
        return connection

    def publisher(self) -> "RawPublisher":
        """Return a connection as user ``web``, who may enqueue into queue ``shop`` and nothing else."""
        return RawPublisher(self.vhost.address, self.vhost.name, f"web-{self.vhost.name}")


class RawPublisher:
    """Publishes any bytes with any headers, as somebody with a publisher's rights could."""

    def __init__(self, address: str, vhost: str, user: str) -> None:
        self._connection = amqp.Connection(
            host=address, userid=user, password=WEB_PASSWORD, virtual_host=vhost
        )
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.confirm_select()

    def publish(
        self,
        headers: dict[str, Any] | None,
        body: object = ([], {}, {}),
        *,
        exchange: str = "fleet.tasks",
        key: str = "fleet.shop",
        **properties: Any,
    ) -> None:
        """Publish and wait for the broker's confirm."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        defaults = {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2}
        message = amqp.Message(raw, application_headers=headers, **(defaults | properties))
        self._channel.basic_publish_confirm(message, exchange=exchange, routing_key=key)

    def close(self) -> None:
        self._connection.collect()


def shop_body(
    *hosts: str,
    delivery_limit: int = 20,
    max_runtime: str = "60s",
    user: str = "web",
    stop_timeout: str = "60s",
    pool: str = "prefork",
) -> str:
    """Return the fleet file's tables for a shop on ``hosts``."""
    slow_port, shared_port = metrics_ports()
    tables: Sequence[str] = [
        f'[hosts.{name}]\naddress = "127.0.0.{number}"' for number, name in enumerate(hosts, start=2)
    ]
    return (
        "\n".join(tables)
        + f"""

[broker.users.{user}]
role = "publisher"
password = "env:WEB_PASSWORD"
queues = ["shop"]

[broker.users.operator-{user}]
role = "operator"
password = "env:OPERATOR_PASSWORD"

[queues.shop]
tasks = ["probe.*"]
delivery_limit = {delivery_limit}
max_runtime = "{max_runtime}"

[queues.slow]
tasks = ["probe.sleep", "probe.hold", "probe.later", "probe.pass_on"]
long = true
per_host = true

[workers.shared]
hosts = ["*"]
queues = ["shop"]
pool = "{pool}"
concurrency = {1 if pool == "solo" else 2}
metrics_port = {shared_port}
stop_timeout = "{stop_timeout}"

[workers.slow]
hosts = ["*"]
queues = ["slow"]
concurrency = 1
metrics_port = {slow_port}
stop_timeout = "{stop_timeout}"

[tasks]
imports = ["probe_tasks"]
"""
    )


@pytest.fixture
def make_shop(
    provisioned: Provisioned, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Callable[..., Shop]]:
    """Provision a shop: ``make_shop("alpha", "beta", delivery_limit=2)``."""
    with shops(provisioned, start_worker, tmp_path) as make:
        yield make


@contextmanager
def shops(
    provisioned: Provisioned, start_worker: StartWorker, tmp_path: Path
) -> Iterator[Callable[..., Shop]]:
    """Give what provisions shops on one vhost, and kill their workers in the end."""

    made: list[Shop] = []

    def make(*hosts: str, **options: Any) -> Shop:
        shutil.copy(Path(__file__).with_name("probe_tasks.py"), tmp_path)
        log = tmp_path / "probe.log"
        vhost = provisioned.vhost
        body = shop_body(*(hosts or ("alpha",)), user=f"web-{vhost.name}", **options)
        path = vhost.write_fleet_toml(body)
        provision_broker(read(str(path)), ENVIRON)
        environ = ENVIRON | {"PROBE_LOG": str(log)}
        made.append(Shop(file=path, vhost=vhost, log=log, environ=environ, start_worker=start_worker))
        return made[-1]

    try:
        yield make
    finally:
        for child in (worker for shop in made for worker in shop.workers):
            # How a worker ends in order is a test of its own; here it would only take time.
            child.kill()


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """A shop on host alpha."""
    return make_shop()
