"""Which users of a vhost are the fleet's, and in which role?

A role is recognised by its rights: they are what provisioning would give to it, to the letter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fleet import roles
from fleet.adopt.names import listed
from fleet.config.values import NAME_PATTERN
from fleet.model import BrokerUser, Fleet, SecretRef
from fleet.routes import JOURNAL_EXCHANGE, TASK_EXCHANGE, broker_queues
from fleet.topology import MONITORING, mark_of
from provisioning.broker.state import DEFAULT_USER, State

ADMINISTRATOR = "administrator"
#: stands in where only names and rights are compared
_NO_SECRET = SecretRef(scheme="env", name="NONE")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUser:
    """A further user of the fleet file that is to be."""

    name: str
    role: str
    queues: tuple[str, ...] = ()


def find_hosts(state: State, vhost: str) -> tuple[str, ...]:
    """Return the hosts whose workers may write to the journal; each signs with its name."""
    found: set[str] = set()
    for row in state.topic_permissions:
        if row.vhost == vhost and row.exchange == JOURNAL_EXCHANGE:
            # An operator signs with "@" and the user's name.
            found.update(name for name in listed(row.write) or () if not name.startswith("@"))
    return tuple(sorted(found))


def candidates(state: State, vhost: str, *, provisioner: str | None) -> tuple[str, ...]:
    """Return the users with rights in ``vhost`` that a fleet file may name, those with its mark first."""
    marks = {user.name: mark_of(vhost) in user.tags for user in state.users}
    names = {row.user for row in state.permissions if row.vhost == vhost} & marks.keys()
    return tuple(sorted(names - {DEFAULT_USER, provisioner}, key=lambda name: (not marks[name], name)))


def is_worker(fleet: Fleet, state: State, user: str) -> bool:
    """Tell whether ``user`` has a worker's rights in ``fleet``."""
    return grant_of(state, fleet.broker.vhost, user) == _normal(roles.worker(fleet, user))


def may_do_everything(fleet: Fleet, state: State, user: str) -> bool:
    """Tell whether ``user`` has every right, as with the profile ``open``."""
    return grant_of(state, fleet.broker.vhost, user) == _normal(roles.everything(fleet, user))


def is_administrator(state: State, user: str) -> bool:
    """Tell whether ``user`` may change every user of the broker."""
    return any(found.name == user and ADMINISTRATOR in found.tags for found in state.users)


def find_role(fleet: Fleet, state: State, user: str) -> FoundUser | None:
    """Return the role whose rights ``user`` has, or None."""
    if re.fullmatch(NAME_PATTERN, user) is None:
        return None
    actual = grant_of(state, fleet.broker.vhost, user)
    for found in _possible(fleet, state, user):
        declared = BrokerUser(name=user, role=found.role, password=_NO_SECRET, queues=found.queues)
        if _normal(roles.further(fleet, declared)) == actual:
            return found
    return None


def _possible(fleet: Fleet, state: State, user: str) -> Iterator[FoundUser]:
    yield FoundUser(name=user, role=roles.OBSERVER)
    yield FoundUser(name=user, role=roles.OPERATOR)
    if any(found.name == user and MONITORING in found.tags for found in state.users):
        yield FoundUser(name=user, role=roles.MONITOR)
    yield FoundUser(name=user, role=roles.PUBLISHER)
    keys = {
        key
        for row in state.topic_permissions
        if (row.vhost, row.user, row.exchange) == (fleet.broker.vhost, user, TASK_EXCHANGE)
        for key in listed(row.write) or ()
    }
    queues = dict.fromkeys(queue.queue for queue in broker_queues(fleet) if queue.name in keys)
    yield FoundUser(name=user, role=roles.PUBLISHER, queues=tuple(queues))


def grant_of(state: State, vhost: str, user: str) -> roles.Grant | None:
    """Return all that ``user`` may do in ``vhost``."""
    rows = [row for row in state.permissions if (row.vhost, row.user) == (vhost, user)]
    topics = [row for row in state.topic_permissions if (row.vhost, row.user) == (vhost, user)]
    return _normal(roles.Grant(permission=rows[0], topic_permissions=tuple(topics))) if rows else None


def _normal(grant: roles.Grant) -> roles.Grant:
    """Return ``grant`` with its parts in a fixed order."""
    return replace(
        grant, topic_permissions=tuple(sorted(grant.topic_permissions, key=lambda row: row.exchange))
    )
