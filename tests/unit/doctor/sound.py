"""A sound broker, as facts: what each test spoils in one place."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fleet.config.parse import parse
from fleet.doctor.diagnose import diagnose
from fleet.doctor.facts import DoorFact, Endpoint, Facts, NodeFact, QueueFact, Settings
from fleet.doctor.finding import Finding
from fleet.topology import desired_state
from provisioning.broker.state import State
from tests.unit.broker_tables import WATCHED_BROKER

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
FILE = f"""
[fleet]
name = "demo"
{WATCHED_BROKER}[hosts.alpha]
[queues.email]
max_runtime = "10m"
[queues.default]
max_runtime = "10m"
"""
NODES = ("rabbit@mq1", "rabbit@mq2", "rabbit@mq3")


def sound(text: str = FILE, *, version: tuple[int, ...] = (4, 2, 0), **changed: Any) -> Facts:
    """Return what is seen of a broker that is as ``text`` wants it."""
    fleet = parse(text, source="fleet.toml")
    state = desired_state(fleet, {}, broker_version=version)
    facts = Facts(
        now=NOW,
        fleet=fleet,
        doors=(DoorFact(name="http"),),
        endpoints=(Endpoint(address="mq1:5672"),),
        version=version,
        state=state,
        nodes=tuple(NodeFact(name=name) for name in NODES),
        queues=tuple(
            QueueFact(name=queue.name, type=queue.type, members=NODES, online=NODES) for queue in state.queues
        ),
        global_prefetch_channels=0,
        deprecated_in_use=(),
        settings=Settings(consumer_timeout_seconds=1800, loopback_users=("guest",)),
        clock_offset_seconds=0.3,
    )
    return replace(facts, **changed)


def with_state(facts: Facts, **changed: Any) -> Facts:
    """Return ``facts`` with other objects in the broker; each value is a function of what was there."""
    state = facts.state or State()
    objects: dict[str, Any] = {name: tuple(change(getattr(state, name))) for name, change in changed.items()}
    return replace(facts, state=replace(state, **objects))


def said(facts: Facts, check: str) -> list[str]:
    """Return what ``check`` says, as ``level: message``."""
    return [f"{finding.level}: {finding.message}" for finding in found(facts, check)]


def found(facts: Facts, check: str) -> list[Finding]:
    """Return the findings of ``check``."""
    return [finding for finding in diagnose(facts) if finding.check == check]
