"""The explanation of one user's rights, made from a broker's state."""

from dataclasses import dataclass

from fleet.model import Fleet
from fleet.rights.case import Case
from fleet.rights.questions import answers
from provisioning.broker.objects import Permission, TopicPermission
from provisioning.broker.routing import Router
from provisioning.broker.simulator import Rights
from provisioning.broker.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Something that a user can do, or cannot."""

    #: stable word for scripts, such as ``stop_workers``
    what: str
    #: such as ``shut down every worker``
    words: str
    #: reaches further than a worker, a sender or a reader needs
    grave: bool
    #: queues, exchanges or hosts that it is about; () where it is about none in particular
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that one user may do in the fleet's vhost."""

    user: str
    vhost: str
    tags: tuple[str, ...]
    #: None: it cannot open the vhost
    permission: Permission | None
    topic_permissions: tuple[TopicPermission, ...]
    can: tuple[Ability, ...]
    cannot: tuple[Ability, ...]


def explain(fleet: Fleet, state: State, user: str, *, version: tuple[int, ...] = ()) -> Explanation:
    """Return what ``user`` may do in the fleet's vhost on a broker in ``state``.

    Raises UnreadableExpression where an expression is one that the simulator cannot read.
    """
    vhost = fleet.broker.vhost
    rights = Rights.of(state, user, vhost, version=version)
    tags = next((each.tags for each in state.users if each.name == user), ())
    case = Case(fleet=fleet, rights=rights, router=Router(state, vhost), tags=tags)
    can: list[Ability] = []
    cannot: list[Ability] = []
    for question, names in answers(case):
        made = Ability(what=question.what, words=question.words, grave=question.grave, names=names or ())
        (cannot if names is None else can).append(made)
    return Explanation(
        user=user,
        vhost=vhost,
        tags=tags,
        permission=rights.permission,
        topic_permissions=tuple(row for _, row in sorted(rights.topic_permissions.items())),
        can=tuple(can),
        cannot=tuple(cannot),
    )
