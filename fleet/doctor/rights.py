"""Who may do more in the fleet's vhost than is good?

Some rights reach far: to write to the default exchange is to write into every queue, to write to Celery's
``celery.pidbox`` is to command every worker (``shutdown``, too), to configure a queue is to delete it, to
read from it is to take tasks away, and to write to a topic exchange without a topic permission is to use
every key: https://www.rabbitmq.com/docs/access-control. What a user can do is asked of ``fleet.rights``, as
``fleet permissions explain`` does.
"""

import shlex
from collections.abc import Iterator
from dataclasses import replace

from fleet.accounts import declared_name
from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, unknown, warn
from fleet.doctor.wanted import wanted
from fleet.model import Profile
from fleet.rights import Ability, explain
from fleet.routes import broker_queues
from fleet.topology import declared_users
from provisioning.broker.state import State
from provisioning.errors import UnreadableExpression

#: what reaches far in the hands of somebody whom the fleet file does not name, beside what is grave
_NOT_FOR_STRANGERS = ("consume", "take_dead_letters")
_SENDING = ("send", "send_delayed")
#: what goes without saying of somebody who can do more
_IMPLIED = {"administer": ("set_policies", "monitor"), "stop_workers": ("command_workers_of",)}
_SHOWN = 3


def _rights(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    users = list(dict.fromkeys(row.user for row in state.permissions if row.vhost == facts.vhost))
    verdicts = [v for user in users for v in _user(user, state, facts)]
    yield from verdicts
    if not verdicts:
        yield ok(f"none of {len(users)} users may do more than its role needs")


def _user(user: str, state: State, facts: Facts) -> Iterator[Verdict]:
    broker = facts.fleet.broker
    if broker.management and user == broker.management.user:
        return
    if declared_name(user) == broker.user and broker.profile is Profile.OPEN:
        yield warn(
            f'user {user} may do everything, as `profile = "open"` says',
            'set `profile = "least-privilege"` in [broker] where others depend on this broker',
        )
        return
    is_declared = declared_name(user) in declared_users(facts.fleet)
    try:
        powers = _gained(user, state, facts) if is_declared else _of_stranger(user, state, facts)
    except UnreadableExpression as error:
        yield unknown(
            f"what user {user} may do cannot be told: {error.message}",
            f"`rabbitmqctl list_permissions -p {shlex.quote(facts.vhost)}`: write the names that it needs",
        )
        return
    if powers and is_declared:
        yield fail(f"user {user} can {_and(powers)}", "`fleet provision broker` takes that back")
    elif powers:
        where = f"-p {shlex.quote(facts.vhost)} -- {shlex.quote(user)}"
        yield warn(
            f"user {user}, whom the fleet file does not name, can {_and(powers)}",
            f"`rabbitmqctl clear_permissions {where}`, or declare it with a role",
        )


def _gained(user: str, state: State, facts: Facts) -> list[Ability]:
    """Return what a user of the fleet file can do that its grant there does not give."""
    desired = wanted(facts)
    if _told_of(user, desired, facts) == _told_of(user, state, facts):
        return []
    # The same objects for both, else a queue of somebody else's would count as a power.
    granted = replace(
        state,
        users=desired.users,
        permissions=desired.permissions,
        topic_permissions=desired.topic_permissions,
    )
    given = {ability.what: ability.names for ability in _abilities(user, granted, facts)}
    found = []
    for ability in _abilities(user, state, facts):
        if ability.what not in given:
            found.append(ability)
        elif more := tuple(name for name in ability.names if name not in given[ability.what]):
            found.append(replace(ability, names=more))
    return _shortened(found)


def _told_of(user: str, state: State, facts: Facts) -> tuple[object, ...]:
    """Return all that decides what ``user`` can do."""
    tags = {tag for each in state.users if each.name == user for tag in each.tags}
    rows = [row for row in state.permissions if (row.vhost, row.user) == (facts.vhost, user)]
    topics = {row for row in state.topic_permissions if (row.vhost, row.user) == (facts.vhost, user)}
    return (tags, rows, topics)


def _of_stranger(user: str, state: State, facts: Facts) -> list[Ability]:
    """Return what somebody else can do with what is the fleet's, beside sending to some of its queues."""
    desired = wanted(facts)
    hosts = {host.name for host in facts.fleet.hosts}
    ours = {*hosts, *(q.name for q in desired.queues), *(e.name for e in desired.exchanges)}
    found = []
    for ability in _abilities(user, state, facts):
        names = tuple(name for name in ability.names if name in ours)
        if (not names and ability.names) or not _reaches_far(ability, names, facts):
            continue
        found.append(replace(ability, names=names))
    return _shortened(found)


def _reaches_far(ability: Ability, names: tuple[str, ...], facts: Facts) -> bool:
    if ability.what in _SENDING:
        return {queue.name for queue in broker_queues(facts.fleet)} <= set(names)
    return ability.grave or ability.what in _NOT_FOR_STRANGERS


def _abilities(user: str, state: State, facts: Facts) -> tuple[Ability, ...]:
    return explain(facts.fleet, state, user, version=facts.version or ()).can


def _shortened(found: list[Ability]) -> list[Ability]:
    implied = {what for ability in found for what in _IMPLIED.get(ability.what, ())}
    return [ability for ability in found if ability.what not in implied]


def _and(powers: list[Ability]) -> str:
    told = [power.words + _named(power.names) for power in powers]
    return " and ".join(filter(None, ("; ".join(told[:-1]), told[-1])))


def _named(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"


RIGHTS = Check(name="rights", about="may anybody do more than its role needs?", needs=("state",), run=_rights)
