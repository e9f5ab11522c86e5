"""A test's own corner of a real broker: a vhost, and users that begin with its name."""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
import requests

from provisioning.apply import Door, Report, apply, plan_against
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.state import State
from provisioning.plan import Resource
from tests.broker import BrokerNode
from tests.broker_model import state, stored
from tests.new_queues import NewQueuesDoor


@dataclass(frozen=True, kw_only=True)
class Place:
    """A vhost and a prefix of user names that are this test's own."""

    node: BrokerNode
    name: str

    def door(self, name: str = "http") -> Door:
        if name == "rabbitmqctl":
            return RabbitmqctlDoor(Rabbitmqctl(self.node.rabbitmqctl))
        return NewQueuesDoor(
            self.node.management_url, user=self.node.admin_user, password=self.node.admin_password.reveal()
        )

    def moved(self, resources: Iterable[Resource]) -> list[Resource]:
        """Return ``resources`` with this vhost and these users in place of theirs."""
        return [self._moved(resource) for resource in resources]

    def _moved(self, resource: Resource) -> Resource:
        if isinstance(resource, Vhost):
            return replace(resource, name=self.name)
        if isinstance(resource, User):
            return replace(resource, name=f"{self.name}.{resource.name}", tags=(self.name,))
        if isinstance(resource, Permission | TopicPermission):
            return replace(resource, vhost=self.name, user=f"{self.name}.{resource.user}")
        assert isinstance(resource, Policy | OperatorPolicy | Exchange | Queue | Binding)
        return replace(resource, vhost=self.name)

    def desired(self, *resources: Resource) -> State:
        """Return a state of this vhost; what it does not hold of earlier ones is prunable."""
        own = () if any(isinstance(r, Vhost) for r in resources) else (Vhost(name=self.name),)
        return state([*own, *resources], mark=self.name)

    @property
    def bare(self) -> str:
        """What is told of the vhost when nothing was said of it but its name."""
        return told(stored(Vhost(name=self.name)))

    def converge(self, desired: State, door: Door) -> Report:
        planned = plan_against(desired, door.observe(), door, prune=True)
        return apply(planned, door, allow_destructive=True, pause=lambda _: None)

    def seen(self) -> set[str]:
        """Return what the broker itself says is here, without salts."""
        return {told(r) for r in self.door().observe().resources if self.owns(r)}

    def owns(self, resource: Resource) -> bool:
        return any(part.startswith(self.name) for part in resource.identity[1:])


def told(resource: Resource) -> str:
    """Return all there is to an object but its password; what it leaves open is as is usual."""
    facts = dict((resource.over(None) if isinstance(resource, Vhost) else resource).facts())
    facts.pop("password", None)
    return json.dumps([resource.identity, facts], sort_keys=True)


@contextmanager
def opened(node: BrokerNode) -> Iterator[Place]:
    """Give a place on ``node`` and remove everything of it afterwards."""
    made = Place(node=node, name=f"doors-{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        door = made.door()
        left = plan_against(state([], mark=made.name), door.observe(), door, prune=True)
        apply(left, door, allow_destructive=True, pause=lambda _: None)
        requests.delete(
            f"{node.management_url}/api/vhosts/{quote(made.name, safe='')}",
            auth=(node.admin_user, node.admin_password.reveal()),
            timeout=20,
        )


@pytest.fixture
def place(each_broker: BrokerNode) -> Iterator[Place]:
    """A place on one node of each release."""
    with opened(each_broker) as made:
        yield made
