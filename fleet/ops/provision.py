"""How is the broker made to match the fleet file: plan, then carry out the plan, through one of two doors?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.errors import UsageError
from fleet.model import Fleet, Kind, Management
from fleet.ops.broker_users import kept_passwords, users_wanted
from fleet.secrets import resolve
from fleet.topology import desired_state
from provisioning.apply import Door, Report, apply, plan_against, refusals
from provisioning.broker.ctl import Rabbitmqctl
from provisioning.broker.http_api import ClientCertificate
from provisioning.broker.management import ManagementDoor
from provisioning.broker.notes import notes
from provisioning.broker.rabbitmqctl import RabbitmqctlDoor
from provisioning.broker.releases import refuse_unfit
from provisioning.broker.state import refuse_foreign, refuse_protected
from provisioning.plan import Identity, Plan
from provisioning.planfile import SavedPlan, refuse_another


class DoorName(StrEnum):
    """Through which door the broker is seen and changed."""

    HTTP = "http"
    RABBITMQCTL = "rabbitmqctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """What must change in the broker, and the door through which that was seen."""

    plan: Plan
    door: Door
    door_name: DoorName
    #: the broker's version, such as ``(3, 10, 8)``
    version: tuple[int, ...]
    #: changes that this door cannot make, with the reason
    refusals: Mapping[Identity, str]
    #: what an operator should know besides
    notes: tuple[str, ...]


def needs_provisioning(fleet: Fleet) -> bool:
    """Tell whether this fleet's broker has anything to provision; Redis has not."""
    return fleet.broker.kind is Kind.RABBITMQ


def plan_broker(
    fleet: Fleet, environ: Mapping[str, str], *, door: DoorName | None = None, prune: bool = False
) -> BrokerPlan:
    """Observe the broker and return what must change; changes nothing.

    Raises UsageError without a door or for a fleet on Redis, SecretMissing, and provisioning's own errors.
    """
    if not needs_provisioning(fleet):
        raise UsageError(f"{fleet.source}: Redis has no vhosts, users or queues to provision")
    kept = kept_passwords(fleet, environ)
    name, opened = open_door(fleet, environ, door)
    seen = opened.observe()
    users = users_wanted(fleet, kept, seen.resources)
    desired = desired_state(fleet, users.passwords, broker_version=seen.version, accounts=users.accounts)
    refuse_protected(desired)
    refuse_foreign(desired, seen.resources)
    refuse_unfit(desired, seen)
    planned = plan_against(desired, seen, opened, prune=prune)
    return BrokerPlan(
        plan=planned,
        door=opened,
        door_name=name,
        version=seen.version,
        refusals=refusals(planned, opened),
        notes=(*notes(desired, seen.resources), *users.notes),
    )


def plan_again(saved: SavedPlan, fleet: Fleet, environ: Mapping[str, str]) -> BrokerPlan:
    """Return the plan that was saved, ready to be carried out.

    Raises WorldMoved or DesiredMoved, with what moved, when it would be another plan now.
    """
    planned = plan_broker(fleet, environ, door=DoorName(saved.door), prune=saved.prune)
    refuse_another(saved, planned.plan, broker_version=version_text(planned))
    return planned


def version_text(planned: BrokerPlan) -> str:
    """Return the broker's version, such as ``3.10.8``."""
    return ".".join(map(str, planned.version))


def apply_plan(
    planned: BrokerPlan, *, allow_destructive: bool = False, close_connections: bool = False
) -> Report:
    """Carry out a plan; raises before anything is changed, or reports what became of each change."""
    return apply(
        planned.plan,
        planned.door,
        allow_destructive=allow_destructive,
        close_connections=close_connections,
    )


def provision_broker(
    fleet: Fleet,
    environ: Mapping[str, str],
    *,
    door: DoorName | None = None,
    prune: bool = False,
    allow_destructive: bool = False,
) -> Report:
    """Plan and carry out at once, without asking anybody."""
    planned = plan_broker(fleet, environ, door=door, prune=prune)
    return apply_plan(planned, allow_destructive=allow_destructive)


def management_door(management: Management, environ: Mapping[str, str]) -> ManagementDoor:
    """Return the door that ``[broker.management]`` describes; nothing is asked yet. Raises SecretMissing."""
    return ManagementDoor(
        management.urls,
        user=management.user,
        password=resolve(management.password, environ=environ).reveal(),
        ca=management.ca,
        certificate=client_certificate(management),
    )


def client_certificate(management: Management) -> ClientCertificate | None:
    """Return what ``[broker.management]`` shows to a server that asks for a certificate."""
    return ClientCertificate(certificate=management.cert, key=management.key) if management.cert else None


def rabbitmqctl(fleet: Fleet, command: Sequence[str], environ: Mapping[str, str]) -> Rabbitmqctl:
    """Return what starts ``command`` where the fleet file says: here, or on a broker's host over SSH."""
    host = fleet.broker.rabbitmqctl_host
    if host is None:
        return Rabbitmqctl(command, environ=environ)
    from fleet.ops.hosts import runner_at

    return Rabbitmqctl(command, runner=runner_at(fleet, host))


def open_door(
    fleet: Fleet, environ: Mapping[str, str], wanted: DoorName | None = None
) -> tuple[DoorName, Door]:
    """Return the door that is wanted, or the first that the fleet file describes; nothing is asked yet.

    Raises UsageError where it describes none, SecretMissing.
    """
    management, command = fleet.broker.management, fleet.broker.rabbitmqctl
    if management and wanted in (None, DoorName.HTTP):
        return DoorName.HTTP, management_door(management, environ)
    if command and wanted in (None, DoorName.RABBITMQCTL):
        return DoorName.RABBITMQCTL, RabbitmqctlDoor(rabbitmqctl(fleet, command, environ))
    missing = "[broker.management]" if wanted is DoorName.HTTP else "`rabbitmqctl`"
    raise UsageError(
        f"{fleet.source} does not say how to provision the broker: "
        + (f"{missing} is missing" if wanted else "neither [broker.management] nor `rabbitmqctl` is there"),
        hint="add [broker.management] with url, user and password, or rabbitmqctl = [...] to [broker]",
    )
