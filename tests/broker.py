"""A vhost of a test's own on the run's RabbitMQ node, and fleet files that use it."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests

from fleet.daemons.files import write_private
from fleet.daemons.process import free_ports
from fleet.secrets import Secret


class BrokerNode(Protocol):
    """A RabbitMQ node that tests may use: a private one of this machine, or one on a host of the lab."""

    @property
    def url(self) -> str:
        """The AMQP URL, without user or password."""
        ...

    @property
    def port(self) -> int:
        """The AMQP port."""
        ...

    @property
    def management_url(self) -> str:
        """The HTTP API's URL, without user or password."""
        ...

    @property
    def admin_user(self) -> str:
        """The administrator's name."""
        ...

    @property
    def admin_password(self) -> Secret:
        """The administrator's password."""
        ...

    @property
    def admin_password_file(self) -> Path:
        """The file that holds it."""
        ...

    @property
    def rabbitmqctl(self) -> tuple[str, ...]:
        """The argv that starts rabbitmqctl against this node from any environment."""
        ...

    def ctl(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """Run rabbitmqctl and return its stdout."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerVhost:
    """A vhost and the names of its two users; after ``create`` both may do everything in it."""

    node: BrokerNode
    name: str
    user: str
    password: str
    #: holds the user's password, for ``password = "file:…"``
    password_file: Path
    observer: str
    observer_password_file: Path
    #: where the fleet files of this vhost keep state
    directory: Path

    @classmethod
    def name_only(cls, node: BrokerNode, directory: Path) -> "BrokerVhost":
        """Return names and a password that the broker does not know yet."""
        identity = secrets.token_hex(4)
        password = secrets.token_urlsafe(12)
        password_file = directory / f"celery-{identity}.password"
        observer_password_file = directory / f"observer-{identity}.password"
        for file in (password_file, observer_password_file):
            write_private(file, password + "\n")
        return cls(
            node=node,
            name=f"test-{identity}",
            user=f"celery-{identity}",
            password=password,
            password_file=password_file,
            observer=f"observer-{identity}",
            observer_password_file=observer_password_file,
            directory=directory,
        )

    @classmethod
    def create(cls, node: BrokerNode, directory: Path) -> "BrokerVhost":
        """Create the vhost, and its two users with every right in it."""
        made = cls.name_only(node, directory)
        made.api("PUT", f"vhosts/{made.name}", {})
        for user in (made.user, made.observer):
            made.api("PUT", f"users/{user}", {"password": made.password, "tags": "management"})
        for user in (made.user, made.observer, node.admin_user):
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            made.api("PUT", f"permissions/{made.name}/{user}", everything)
        return made

    @property
    def address(self) -> str:
        """The node's AMQP address: ``host:port``."""
        return self.node.url.removeprefix("amqp://")

    @property
    def url(self) -> str:
        """The AMQP URL with user, password and vhost, for a client library."""
        return f"amqp://{self.user}:{quote(self.password)}@{self.address}/{self.name}"

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the HTTP API as administrator; return the decoded answer, or None when it is empty."""
        answer = requests.request(
            method,
            f"{self.node.management_url}/api/{path}",
            json=body,
            auth=(self.node.admin_user, self.node.admin_password.reveal()),
            timeout=20,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def delete(self) -> None:
        """Delete the vhost and every user that has rights in it, if they exist."""
        if self.name not in {row["name"] for row in self.api("GET", "vhosts")}:
            return
        rows = self.api("GET", f"vhosts/{self.name}/permissions")
        self.api("DELETE", f"vhosts/{self.name}")
        for user in {row["user"] for row in rows} - {self.node.admin_user}:
            self.api("DELETE", f"users/{quote(user, safe='')}")

    def fleet_toml(self, body: str | None = None) -> str:
        """Return a fleet file on this vhost; ``body`` is everything after ``[fleet]`` and ``[broker]``.

        Without one the fleet has host ``alpha`` with the default workers on free metrics ports.
        """
        return f"""\
[fleet]
name = "test"
timezone = "UTC"
state_dir = "{self.directory / "state"}"

[broker]
url = "{self.node.url}"
vhost = "{self.name}"
user = "{self.user}"
password = "file:{self.password_file}"
rabbitmqctl = ["{self.node.rabbitmqctl[0]}"]

[broker.management]
url = "{self.node.management_url}"
user = "{self.node.admin_user}"
password = "file:{self.node.admin_password_file}"

[broker.users.{self.observer}]
role = "observer"
password = "file:{self.observer_password_file}"

{hosts_and_workers() if body is None else body}"""

    def write_fleet_toml(self, body: str | None = None) -> Path:
        """Write ``fleet_toml(body)`` into the test's directory and return its path."""
        path = self.directory / "fleet.toml"
        path.write_text(self.fleet_toml(body), encoding="utf-8")
        return path


def metrics_ports() -> tuple[int, int]:
    """Return free ports for two workers of one host; 100 above each is for a second instance."""
    while abs((ports := free_ports(2))[0] - ports[1]) == 100:
        pass
    return ports[0], ports[1]


def hosts_and_workers(*hosts: str) -> str:
    """Return tables for ``hosts`` (default ``alpha``), which share two workers on free metrics ports.

    Each host has a loopback address of its own, so the same ports serve all of them.
    """
    backup_port, shared_port = metrics_ports()
    names = hosts or ("alpha",)
    tables = [f'[hosts.{name}]\naddress = "127.0.0.{number}"\n' for number, name in enumerate(names, start=2)]
    return (
        "\n".join(tables)
        + f"""
[workers.backup]
hosts = ["*"]
queues = ["backup"]
concurrency = 1
metrics_port = {backup_port}

[workers.shared]
hosts = ["*"]
queues = ["email", "default"]
concurrency = 2
metrics_port = {shared_port}
"""
    )
