"""What is wrong with the broker? Gathers what can be seen through the doors that open, and diagnoses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from fleet.doctor.command import CommandView
from fleet.doctor.diagnose import diagnose, worst
from fleet.doctor.endpoints import certificate_files, endpoints
from fleet.doctor.facts import DoorFact, Facts
from fleet.doctor.finding import Finding, Level
from fleet.doctor.management import ManagementView
from fleet.doctor.unseen import Unseen
from fleet.errors import UsageError
from fleet.model import Fleet, Kind
from fleet.ops.provision import client_certificate, management_door, rabbitmqctl
from fleet.secrets import resolve
from provisioning.apply import Observation
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.state import State
from provisioning.errors import ProvisioningError, Unreachable
from provisioning.plan import Resource

_T = TypeVar("_T", bound=Resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What an examination of the broker has found."""

    version: tuple[int, ...] | None
    #: somebody answered at a door
    is_reachable: bool
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Level:
        """The level of the worst finding."""
        return worst(self.findings)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What is gathered, the first door that shows something wins."""

    facts: dict[str, Any] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    doors: list[DoorFact] = field(default_factory=list)

    def note(self, name: str, look: Callable[[], object]) -> None:
        """Keep what ``look`` returns as fact ``name``, or why it could not be seen."""
        if name in self.facts:
            return
        try:
            self.facts[name] = look()
        except Unseen as error:
            self.unseen.setdefault(name, str(error))


def examine(fleet: Fleet, environ: Mapping[str, str], *, now: datetime | None = None) -> Examination:
    """Look at the fleet's broker, changing nothing, and return what every check says.

    Raises UsageError for a fleet on Redis, or one whose file names no way to look, and SecretMissing.
    """
    broker = fleet.broker
    if broker.kind is not Kind.RABBITMQ:
        raise UsageError(f"{fleet.source}: the doctor knows RabbitMQ only, and this fleet's broker is Redis")
    if not broker.management and not broker.rabbitmqctl:
        raise UsageError(
            f"{fleet.source} does not say how to look into the broker: neither [broker.management] nor"
            " `rabbitmqctl` is there",
            hint="add [broker.management] with url, user and password, or rabbitmqctl = [...] to [broker]",
        )
    seen = _Seen()
    _look_over_http(fleet, environ, seen)
    _look_by_command(fleet, environ, seen)
    _explain(fleet, seen)
    facts = Facts(
        now=now or datetime.now(UTC),
        fleet=fleet,
        doors=tuple(seen.doors),
        endpoints=endpoints(broker),
        certificate_files=certificate_files(broker),
        unseen=seen.unseen,
        **seen.facts,
    )
    return Examination(
        version=facts.version,
        is_reachable=any(door.is_answered for door in seen.doors),
        findings=diagnose(facts),
    )


def _look_over_http(fleet: Fleet, environ: Mapping[str, str], seen: _Seen) -> None:
    management = fleet.broker.management
    if management is None:
        return
    door = management_door(management, environ)
    if not _open("http", door.observe, seen):
        return
    view = ManagementView(
        # The node that has just answered is asked first.
        tuple(dict.fromkeys((door.url, *management.urls))),
        user=management.user,
        password=resolve(management.password, environ=environ).reveal(),
        ca=management.ca,
        certificate=client_certificate(management),
    )
    vhost = fleet.broker.vhost
    seen.note("nodes", view.nodes)
    seen.note("clock_offset_seconds", view.clock_offset_seconds)
    seen.note("queues", lambda: view.queues(vhost))
    seen.note("global_prefetch_channels", lambda: view.global_prefetch_channels(vhost))
    seen.note("deprecated_in_use", view.deprecated_in_use)


def _look_by_command(fleet: Fleet, environ: Mapping[str, str], seen: _Seen) -> None:
    argv = fleet.broker.rabbitmqctl
    if argv is None:
        return
    tool = rabbitmqctl(fleet, argv, environ)
    # Each call takes a second, so it is only asked for what the management API has not shown.
    if "state" not in seen.facts and not _open("rabbitmqctl", RabbitmqctlDoor(tool).observe, seen):
        return
    view = CommandView(tool)
    vhost = fleet.broker.vhost
    seen.note("settings", view.settings)
    seen.note("nodes", view.nodes)
    seen.note("queues", lambda: view.queues(vhost))
    seen.note("global_prefetch_channels", lambda: view.global_prefetch_channels(vhost))


def _open(name: str, observe: Callable[[], Observation], seen: _Seen) -> bool:
    """Look at the definitions through one door, and note whether it opened."""
    try:
        found = observe()
    except ProvisioningError as error:
        answered = not isinstance(error, Unreachable)
        seen.doors.append(DoorFact(name=name, error=error.message, hint=error.hint, is_answered=answered))
        return False
    seen.doors.append(DoorFact(name=name))
    seen.facts.setdefault("state", State.of(found.resources))
    seen.facts.setdefault("version", found.version)
    return True


def _explain(fleet: Fleet, seen: _Seen) -> None:
    """Say of everything that no door has shown why."""
    closed = "; ".join(f"{door.name} did not open" for door in seen.doors if door.error)
    only_http = "the management API does not show it, and the fleet file names no `rabbitmqctl`"
    only_command = "rabbitmqctl does not show it, and the fleet file has no [broker.management]"
    seen.unseen.setdefault("settings", closed if fleet.broker.rabbitmqctl else only_http)
    seen.unseen.setdefault("clock_offset_seconds", closed if fleet.broker.management else only_command)
    seen.unseen.setdefault("deprecated_in_use", closed if fleet.broker.management else only_command)
    for name in ("state", "version", "nodes", "queues", "global_prefetch_channels"):
        seen.unseen.setdefault(name, closed)
