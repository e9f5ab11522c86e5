"""Would the broker refuse the fleet's own queues or connections, because somebody limited them?"""

from collections import Counter
from collections.abc import Iterator, Mapping

from fleet.accounts import declared_name
from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.doctor.wanted import wanted
from fleet.model import Fleet, Profile
from provisioning.broker.resource import NO_ARGUMENTS
from provisioning.broker.state import State


def _limits(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    told = [*_vhost_limits(facts, state), *_user_limits(facts, state)]
    yield from told or [ok("none stands in the way of the fleet's own queues and connections")]


def _vhost_limits(facts: Facts, state: State) -> Iterator[Verdict]:
    limits = next((vhost.limits for vhost in state.vhosts if vhost.name == facts.vhost), None) or NO_ARGUMENTS
    workers = sum(_workers(facts.fleet).values())
    there = {queue.name for queue in state.queues if queue.vhost == facts.vhost}
    declared = {queue.name for queue in wanted(facts).queues}
    needed, hint = len(there | declared), _hint(f"set_vhost_limits -p {facts.vhost}", "max-queues")
    most = _limit(limits, "max-queues")
    if most is not None and most < needed:
        yield fail(f"vhost {facts.vhost} takes {most} queues, and {needed} are there or the fleet's", hint)
    elif most is not None and most < needed + workers:
        yield warn(
            f"vhost {facts.vhost} takes {most} queues, which leaves no room for the mailboxes of"
            f" {workers} workers beside {needed} that last",
            hint,
        )
    most = _limit(limits, "max-connections")
    if most is not None and most < workers:
        yield fail(
            f"vhost {facts.vhost} takes {most} connections, and each of {workers} workers needs one at least",
            _hint(f"set_vhost_limits -p {facts.vhost}", "max-connections"),
        )


def _user_limits(facts: Facts, state: State) -> Iterator[Verdict]:
    declared = wanted(facts).users
    workers, names = _workers(facts.fleet), {user.name for user in declared}
    for user in state.users:
        if user.name not in names:
            continue
        logging_in = workers[declared_name(user.name)]
        needed = max(1, logging_in)
        for limit in ("max-connections", "max-channels"):
            most = _limit(user.limits or NO_ARGUMENTS, limit)
            if most is not None and most < needed:
                whose = f"{needed} workers need" if logging_in else "it needs"
                yield fail(
                    f"user {user.name} may open {most} {limit.removeprefix('max-')},"
                    f" and {whose} {needed} at least",
                    _hint(f"set_user_limits {user.name}", limit),
                )


def _workers(fleet: Fleet) -> Counter[str]:
    """Return how many workers log in as each user."""
    broker = fleet.broker
    return Counter(
        broker.host_user(host.name) if broker.profile is Profile.PER_HOST else broker.user
        for worker in fleet.workers
        for host in fleet.hosts_for(worker.hosts)
    )


def _limit(limits: Mapping[str, object], name: str) -> int | None:
    """Return a limit; a negative one is none."""
    value = limits.get(name)
    return value if isinstance(value, int) and value >= 0 else None


def _hint(command: str, limit: str) -> str:
    return f"raise it: `rabbitmqctl {command} '{{\"{limit}\": …}}'`"


LIMITS = Check(
    name="limits",
    about="would a limit refuse the fleet's own queues or connections?",
    needs=("state", "version"),
    run=_limits,
)
