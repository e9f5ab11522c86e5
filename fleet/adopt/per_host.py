"""Which users are those of the hosts (profile ``per-host``), and which queues does each host serve?

Each host has two: ``USER-HOST`` consumes, ``USER-HOST_send`` sends and signs in the journal with the host's
name, which tells both names apart however they are made.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from fleet.adopt.names import listed
from fleet.adopt.queues import FoundQueue
from fleet.config.values import HOST_NAME_PATTERN
from fleet.model import Broker, Profile, Queue
from fleet.routes import JOURNAL_EXCHANGE, TASK_EXCHANGE, broker_queue
from provisioning.broker.expression import matches
from provisioning.broker.objects import Permission
from provisioning.broker.state import State
from provisioning.errors import UnreadableExpression


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHosts:
    """The hosts that have users of their own, and the queues as they serve them."""

    hosts: tuple[str, ...]
    queues: tuple[FoundQueue, ...]


def find_owner(state: State, vhost: str, *, people: Collection[str], hosts: Iterable[str]) -> str | None:
    """Return the fleet's own user, whose name the hosts' users have in front, or None without such users.

    Where no journal signature tells, names do: of ``people``, for ``hosts`` that are known otherwise.
    """
    owners = Counter(_by_signature(state, vhost, people)) or Counter(_by_name(people, hosts))
    return max(sorted(owners), key=lambda name: owners[name], default=None)


def _by_signature(state: State, vhost: str, people: Collection[str]) -> Iterator[str]:
    for row in state.topic_permissions:
        signs = listed(row.write) or ()
        if (row.vhost, row.exchange, len(signs)) == (vhost, JOURNAL_EXCHANGE, 1):
            yield from _owner_of_pair(row.user, signs[0], people)


def _by_name(people: Collection[str], hosts: Iterable[str]) -> Iterator[str]:
    return (owner for host in hosts for user in people for owner in _owner_of_pair(user, host, people))


def _owner_of_pair(sender: str, host: str, people: Collection[str]) -> Iterator[str]:
    owner = sender.removesuffix(f"-{host}_send")
    pair = users_of(owner, host)
    if owner and sender == pair[1] and {*pair} <= {*people}:
        yield owner


def users_of(owner: str, host: str) -> tuple[str, str]:
    """Return who consumes and who sends for ``host`` in the fleet of user ``owner``."""
    broker = Broker(nodes=(), user=owner, profile=Profile.PER_HOST)
    return broker.host_user(host), broker.host_sender(host)


def find_served(
    state: State,
    vhost: str,
    owner: str,
    *,
    queues: Sequence[FoundQueue],
    hosts: Iterable[str],
    idle: Collection[str],
) -> FoundHosts:
    """Return which of ``hosts`` have users of their own, and serve which of ``queues``.

    A host that has lost one of the two is found by the other. ``idle`` ones are kept though they have none.
    """
    rows = [row for row in state.permissions if row.vhost == vhost]
    known = {row.user for row in rows}
    every = dict.fromkeys((*hosts, *_by_mailbox(rows, owner)))
    having = [host for host in every if not known.isdisjoint(users_of(owner, host))]
    found = (_served(queue, _serving(state, vhost, owner, queue, having), having, idle) for queue in queues)
    return FoundHosts(
        hosts=tuple(dict.fromkeys((*having, *idle))), queues=tuple(queue for queue in found if queue)
    )


def _by_mailbox(rows: Iterable[Permission], owner: str) -> Iterator[str]:
    """Yield the hosts whose mailboxes a user declares who is named after them; no others of similar names."""
    for row in rows:
        host = row.user.removeprefix(f"{owner}-")
        if row.user == users_of(owner, host)[0] and re.fullmatch(HOST_NAME_PATTERN, host):
            own, others = (f"worker-a@{name}.celery.pidbox" for name in (host, f"not-{host}"))
            if _allows(row.configure, own) and not _allows(row.configure, others):
                yield host


def _served(
    queue: FoundQueue, serving: tuple[str, ...], having: Sequence[str], idle: Collection[str]
) -> FoundQueue | None:
    if queue.hosts is not None:
        own = tuple(host for host in queue.hosts if host in having)
        # A queue of hosts that are gone is nobody's.
        return replace(queue, hosts=own, served_by=own) if own else None
    everybody = {*having, *idle} <= {*serving}
    # A queue that nobody may read has lost that, for no fleet file could have made it so.
    return replace(queue, served_by=None if everybody else serving or tuple(having))


def _serving(
    state: State, vhost: str, owner: str, queue: FoundQueue, hosts: Iterable[str]
) -> tuple[str, ...]:
    """Return the hosts whose user may consume ``queue``; without that user, those that may send to it."""
    name = broker_queue(Queue(name=queue.name, tasks=()), None).name
    reads = {row.user: row.read for row in state.permissions if row.vhost == vhost}
    keys = {
        row.user: row.write
        for row in state.topic_permissions
        if (row.vhost, row.exchange) == (vhost, TASK_EXCHANGE)
    }
    rules = {host: users_of(owner, host) for host in hosts}
    return tuple(
        host
        for host, (consumer, sender) in rules.items()
        if _allows(reads.get(consumer, keys.get(sender, "")), name)
    )


def _allows(expression: str, name: str) -> bool:
    try:
        return matches(expression, name)
    except UnreadableExpression:
        return False
