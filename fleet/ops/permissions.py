"""What may a broker user do, on the broker as it is or as the fleet file wants it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from fleet.errors import UsageError
from fleet.model import Fleet
from fleet.ops.provision import DoorName, needs_provisioning, open_door
from fleet.rights import Explanation, explain
from fleet.topology import desired_state
from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Queue,
    TopicPermission,
    User,
)
from provisioning.broker.operations import Right
from provisioning.broker.simulator import Rights, Verdict
from provisioning.broker.state import State

DECLARED, BROKER = "declared", "broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A broker's users, permissions and objects, and where they were seen."""

    #: ``declared`` (the fleet file) or ``broker``
    source: str
    state: State
    #: of the broker; ``()`` where it was not asked
    version: tuple[int, ...] = ()


def look(
    fleet: Fleet, environ: Mapping[str, str], *, declared: bool = False, door: DoorName | None = None
) -> Seen:
    """Return what the broker holds, or what the fleet file declares; changes nothing.

    Raises UsageError for a fleet on Redis or without a door, SecretMissing, and provisioning's own errors.
    """
    if not needs_provisioning(fleet):
        raise UsageError(f"{fleet.source}: Redis has no users with permissions of their own")
    if declared:
        return Seen(source=DECLARED, state=desired_state(fleet, {}))
    seen = open_door(fleet, environ, door)[1].observe()
    state = State(
        users=tuple(each for each in seen.resources if isinstance(each, User)),
        permissions=tuple(each for each in seen.resources if isinstance(each, Permission)),
        topic_permissions=tuple(each for each in seen.resources if isinstance(each, TopicPermission)),
        exchanges=tuple(each for each in seen.resources if isinstance(each, Exchange)),
        queues=tuple(each for each in seen.resources if isinstance(each, Queue)),
        bindings=tuple(each for each in seen.resources if isinstance(each, Binding)),
    )
    return Seen(source=BROKER, state=state, version=seen.version)


def explain_user(fleet: Fleet, seen: Seen, user: str) -> Explanation:
    """Return in words what ``user`` may do in the fleet's vhost.

    Raises UsageError when there is no such user, UnreadableExpression where the simulator cannot tell.
    """
    _require_user(seen, user)
    return explain(fleet, seen.state, user, version=seen.version)


def simulate(
    fleet: Fleet, seen: Seen, user: str, right: Right, name: str, *, key: str | None = None
) -> Verdict:
    """Return whether ``user`` has ``right`` on the queue or exchange ``name`` of the fleet's vhost.

    Raises UsageError when there is no such user, UnreadableExpression where the simulator cannot tell.
    """
    _require_user(seen, user)
    rights = Rights.of(seen.state, user, fleet.broker.vhost, version=seen.version)
    return rights.may(right, name, key=key)


def _require_user(seen: Seen, user: str) -> None:
    # The management user has a permission that is declared, and an account that is not.
    known = {each.name for each in seen.state.users} | {row.user for row in seen.state.permissions}
    if user in known:
        return
    where = "the fleet file declares" if seen.source == DECLARED else "the broker has"
    close = get_close_matches(user, known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"users: {', '.join(sorted(known))}"
    raise UsageError(f"{where} no user `{user}`", hint=hint)
