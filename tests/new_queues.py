"""The HTTP door for tests whose queues are new and empty for certain.

RabbitMQ's statistics know nothing of a new queue for ten seconds, for which these tests have no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from provisioning.broker.management import ManagementDoor
from provisioning.plan import Contents, Identity, Resource

_told = ManagementDoor.contents


def contents(door: ManagementDoor, resources: Sequence[Resource]) -> Mapping[Identity, Contents]:
    """Return what the queues hold; what is not known yet is none."""
    found = _told(door, resources).items()
    return {i: replace(c, messages=c.messages or 0, consumers=c.consumers or 0) for i, c in found}


class NewQueuesDoor(ManagementDoor):
    """The HTTP door to a place in which every queue is new."""

    contents = contents


@pytest.fixture
def queues_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every queue of a test for a new one, which needs no second reading."""
    monkeypatch.setattr(ManagementDoor, "contents", contents)
    monkeypatch.setattr(ManagementDoor, "staleness_seconds", 0.0)
