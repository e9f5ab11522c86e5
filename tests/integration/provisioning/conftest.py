"""A provisioned fleet with one user of every role, and what these tests ask of it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import amqp
import pytest

from fleet import fleetfile
from fleet.daemons.rabbitmq import RabbitNode
from fleet.model import Fleet
from fleet.ops.provision import plan_broker, provision_broker
from tests.broker import BrokerVhost, hosts_and_workers
from tests.integration.provisioning.scripts import Scripts
from tests.new_queues import queues_are_new
from tests.servers import Provisioned

__all__ = ["queues_are_new"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A fleet file with hosts alpha and beta, on a vhost that provisioning makes."""

    vhost: BrokerVhost
    file: Path

    @property
    def fleet(self) -> Fleet:
        return fleetfile.read(str(self.file))

    def user(self, role: str) -> str:
        """Return the user of this role; ``worker`` is the fleet's own."""
        known = {"worker": self.vhost.user, "observer": self.vhost.observer}
        return known.get(role, f"{role}-{self.vhost.name}")

    @property
    def password(self) -> str:
        return self.vhost.password

    def pending(self, *, prune: bool = False) -> list[str]:
        """Return what a plan would change now."""
        planned = plan_broker(self.fleet, {}, prune=prune).plan
        return [f"{change.action} {change.resource.label}" for change in planned.changes]

    def repair(self, *, prune: bool = False) -> None:
        assert provision_broker(self.fleet, {}, prune=prune, allow_destructive=True).converged

    @contextmanager
    def channel(self, role: str) -> Iterator[amqp.Channel]:
        """Log in as the user of this role and open a channel that confirms publishes."""
        connection = amqp.Connection(
            host=f"127.0.0.1:{self.vhost.node.port}",
            userid=self.user(role),
            password=self.password,
            virtual_host=self.vhost.name,
            confirm_publish=True,
            read_timeout=10,
        )
        connection.connect()
        try:
            yield connection.channel()
        finally:
            # Ended by the broker, in some tests.
            with suppress(ConnectionError):
                connection.close()


@pytest.fixture
def site(provisioned: Provisioned) -> Site:
    """A site that is provisioned."""
    made = _site(provisioned)
    assert provision_broker(made.fleet, {}).converged
    return made


@pytest.fixture
def bare_site(provisioned: Provisioned) -> Site:
    """A site whose broker knows nothing of it yet."""
    return _site(provisioned)


def _site(provisioned: Provisioned) -> Site:
    vhost = provisioned.vhost
    name = vhost.name
    roles = {"publisher": 'queues = ["email"]', "operator": ""}
    users = "".join(
        f'[broker.users.{role}-{name}]\npassword = "file:{vhost.password_file}"\nrole = "{role}"\n{more}\n'
        for role, more in roles.items()
    )
    return Site(vhost=vhost, file=vhost.write_fleet_toml(users + hosts_and_workers("alpha", "beta")))


@pytest.fixture
def scripts(rabbit: RabbitNode, tmp_path: Path) -> Iterator[Scripts]:
    named = BrokerVhost.name_only(rabbit, tmp_path)
    try:
        yield Scripts(node=rabbit, vhost=named.name, file=tmp_path / "desired.json")
    finally:
        named.delete()
