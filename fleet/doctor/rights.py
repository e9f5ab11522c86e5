"""Who may do more in the fleet's vhost than is good?

Three rights reach far: to write to the default exchange is to write into every queue, to write to Celery's
``celery.pidbox`` is to command every worker (``shutdown``, too), and to configure a queue is to delete it.
"""

from collections.abc import Iterator

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.doctor.policies import matches
from fleet.model import Fleet, Profile
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
    verdicts = [v for row in rows for v in _row(row, users.get(row.user), facts.fleet)]
    yield from verdicts
    if not verdicts:
        yield ok(f"none of {len(rows)} users may do more than its role needs")


def _row(row: Permission, user: User | None, fleet: Fleet) -> Iterator[Verdict]:
    broker = fleet.broker
    if broker.management and row.user == broker.management.user:
        return
    powers = _powers(row, fleet)
    is_declared = row.user in (broker.user, *(declared.name for declared in broker.users))
    if row.user == broker.user and broker.profile is Profile.OPEN:
        yield warn(
            f'user {row.user} may do everything, as `profile = "open"` says',
            'set `profile = "least-privilege"` in [broker] where others depend on this broker',
        )
    elif powers and is_declared:
        yield fail(f"user {row.user} {' and '.join(powers)}", "`fleet provision broker` takes that back")
    elif powers:
        yield warn(
            f"user {row.user}, whom the fleet file does not name, {' and '.join(powers)}",
            f"`rabbitmqctl clear_permissions -p {row.vhost} {row.user}`, or declare it with a role",
        )
    elif is_declared and user and ADMINISTRATOR in user.tags:
        yield fail(
            f"user {row.user} is an administrator, so it may change every user",
            "`fleet provision broker` takes that back",
        )


def _powers(row: Permission, fleet: Fleet) -> list[str]:
    """Return what ``row`` lets its user do beyond any role, in words."""
    role = next((user.role for user in fleet.broker.users if user.name == row.user), None)
    found = []
    if matches(row.write, DEFAULT_EXCHANGE):
        found.append("can write into every queue")
    if matches(row.write, PIDBOX) and role != OPERATOR:
        found.append("can command and shut down every worker")
    if matches(row.configure, TASK_EXCHANGE) or any(
        matches(row.configure, queue.name) for queue in broker_queues(fleet)
    ):
        found.append("can delete queues and exchanges")
    return found


RIGHTS = Check(name="rights", about="may anybody do more than its role needs?", needs=("state",), run=_rights)
