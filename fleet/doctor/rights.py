"""Who may do more in the fleet's vhost than is good?

Some rights reach far: to write to the default exchange is to write into every queue, to write to Celery's
``celery.pidbox`` is to command every worker (``shutdown``, too), to configure a queue is to delete it, to
read from it is to take tasks away, and to write to a topic exchange without a topic permission is to use
every key: https://www.rabbitmq.com/docs/access-control
"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.doctor.policies import matches
from fleet.model import Profile
from fleet.roles import OPERATOR
from fleet.routes import TASK_EXCHANGE, broker_queues
from provisioning.broker.objects import Permission, User
from provisioning.broker.state import State

#: by which name the default exchange's permissions are asked for
DEFAULT_EXCHANGE = "amq.default"
PIDBOX = "celery.pidbox"
ADMINISTRATOR = "administrator"


def _rights(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    users = {user.name: user for user in state.users}
    rows = [row for row in state.permissions if row.vhost == facts.vhost]
    verdicts = [v for row in rows for v in _row(row, users.get(row.user), facts)]
    yield from verdicts
    if not verdicts:
        yield ok(f"none of {len(rows)} users may do more than its role needs")


def _row(row: Permission, user: User | None, facts: Facts) -> Iterator[Verdict]:
    broker = facts.fleet.broker
    if broker.management and row.user == broker.management.user:
        return
    powers = _powers(row, facts)
    is_declared = row.user in (broker.user, *(declared.name for declared in broker.users))
    if row.user == broker.user and broker.profile is Profile.OPEN:
        yield warn(
            f'user {row.user} may do everything, as `profile = "open"` says',
            'set `profile = "least-privilege"` in [broker] where others depend on this broker',
        )
    elif powers and is_declared:
        yield fail(f"user {row.user} can {_and(powers)}", "`fleet provision broker` takes that back")
    elif powers:
        yield warn(
            f"user {row.user}, whom the fleet file does not name, can {_and(powers)}",
            f"`rabbitmqctl clear_permissions -p {row.vhost} {row.user}`, or declare it with a role",
        )
    elif is_declared and user and ADMINISTRATOR in user.tags:
        yield fail(
            f"user {row.user} is an administrator, so it may change every user",
            "`fleet provision broker` takes that back",
        )


def _powers(row: Permission, facts: Facts) -> list[str]:
    """Return what ``row`` lets its user do beyond its role, in words."""
    broker = facts.fleet.broker
    role = next((user.role for user in broker.users if user.name == row.user), None)
    queues = [queue.name for queue in broker_queues(facts.fleet)]
    every_task = allows(row.write, TASK_EXCHANGE) and not _has_keys(row, facts.state or State())
    told = {
        "write into every queue": allows(row.write, DEFAULT_EXCHANGE),
        "send every task": every_task and not allows(row.write, DEFAULT_EXCHANGE),
        "take tasks away": row.user != broker.user and any(allows(row.read, name) for name in queues),
        "command and shut down every worker": role != OPERATOR and allows(row.write, PIDBOX),
        "delete queues and exchanges": any(allows(row.configure, name) for name in (TASK_EXCHANGE, *queues)),
    }
    return [power for power, holds in told.items() if holds]


def _has_keys(row: Permission, state: State) -> bool:
    """Tell whether a topic permission limits the keys with which the user of ``row`` sends tasks."""
    return any(
        (topic.vhost, topic.user, topic.exchange) == (row.vhost, row.user, TASK_EXCHANGE)
        for topic in state.topic_permissions
    )


def allows(expression: str, name: str) -> bool:
    """Tell whether a permission's expression allows ``name``; an empty one allows nothing."""
    return expression != "" and matches(expression, name)


def _and(powers: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(powers[:-1]), powers[-1])))


RIGHTS = Check(name="rights", about="may anybody do more than its role needs?", needs=("state",), run=_rights)
