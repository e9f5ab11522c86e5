"""Which vhost, users, exchanges, queues, bindings and policies must the broker hold for this fleet?

Pure: the fleet and its passwords in, the desired state out. Provisioning alone declares it; workers check
that it is there and may not declare anything themselves.
"""

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fleet import roles
from fleet.errors import UsageError
from fleet.model import CONSUMER_TIMEOUT_SINCE, Fleet, Profile, Queue
from fleet.routes import (
    DEAD_LETTER_EXCHANGE,
    DELAY_DELIVERY_EXCHANGE,
    DELAY_LEVELS,
    JOURNAL_EXCHANGE,
    JOURNAL_STREAM,
    TASK_EXCHANGE,
    broker_queues,
    dead_letter_queue_name,
)
from fleet.secrets import Secret
from provisioning.broker.objects import Binding, Exchange, Policy, User, Vhost
from provisioning.broker.objects import Queue as DeclaredQueue
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.permissions import names
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.broker.tags import is_kept

#: how the names of the fleet's policies begin: what else is in its vhost is somebody else's
POLICY_PREFIX = "fleet."
#: priority of the fleet's policies: above a broker-wide default, below an operator's emergency policy
POLICY_PRIORITY = 10
#: first version that limits deliveries where no limit is set
DEFAULT_DELIVERY_LIMIT_SINCE = (4, 0)
#: how much longer than its longest task a consumer of a long queue may hold a message
CONSUMER_TIMEOUT_MARGIN_SECONDS = 600
#: the journal drops whole segments, so small ones let ``max-age`` act on a small fleet
JOURNAL_ARGUMENTS = Arguments(
    {
        "x-max-age": "30D",
        "x-max-length-bytes": 1_000_000_000,
        "x-stream-max-segment-size-bytes": 1_000_000,
    }
)
#: RabbitMQ's tag of who may look at everything that the management API shows
MONITORING = "monitoring"
#: Celery's own objects: workers and their questioners declare them, and they come and go
CELERYS_OWN = ("^celeryev", "celery[.]pidbox$")


def desired_state(
    fleet: Fleet,
    passwords: Mapping[str, Secret | PasswordHash],
    *,
    broker_version: tuple[int, ...] = (),
    accounts: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> State:
    """Return all that the broker must hold; ``passwords`` are by the user's name in the broker.

    A user without one keeps the password that the broker has. ``accounts`` names the broker users that there
    are for one of ``declared_users``, when it is not the one of that name (see ``fleet.accounts``).

    ``broker_version`` decides which policy keys exist; unknown means the oldest that is supported.
    Raises UsageError when two things of the fleet would share a name in the broker.
    """
    _refuse_shared_names(fleet)
    _refuse_disarming_the_provisioner(fleet)
    broker = fleet.broker
    grants = tuple(
        grant.given_to(user)
        for grant in _grants(fleet)
        for user in accounts.get(grant.permission.user, (grant.permission.user,))
    )
    return State(
        vhosts=(Vhost(name=broker.vhost),),
        users=tuple(_users(fleet, passwords, accounts)),
        topic_permissions=tuple(topic for grant in grants for topic in grant.topic_permissions),
        permissions=tuple(grant.permission for grant in grants),
        policies=tuple(_policies(fleet, broker_version)),
        exchanges=tuple(_exchanges(fleet)),
        queues=tuple(_queues(fleet)),
        bindings=tuple(_bindings(fleet)),
        mark=ownership_mark(fleet),
        policy_prefix=POLICY_PREFIX,
        keep=CELERYS_OWN,
    )


def declared_users(fleet: Fleet) -> tuple[str, ...]:
    """Return the names of the users that the fleet file declares, the fleet's own first."""
    hosts = [host.name for host in roles.hosts_with_users(fleet)]
    consuming, sending = map(fleet.broker.host_user, hosts), map(fleet.broker.host_sender, hosts)
    return (fleet.broker.user, *consuming, *sending, *(user.name for user in fleet.broker.users))


def ownership_mark(fleet: Fleet) -> str:
    """Return the tag that marks this fleet's users, so that pruning deletes no one else's."""
    return mark_of(fleet.broker.vhost)


def mark_of(vhost: str) -> str:
    """Return the tag that marks the users of the fleet in ``vhost``.

    A name that a broker would not keep in a tag is told by its digest there.
    """
    named = f"fleet:{vhost}"
    return named if is_kept(named) else f"fleet#{hashlib.sha256(vhost.encode()).hexdigest()[:32]}"


def _users(
    fleet: Fleet,
    passwords: Mapping[str, Secret | PasswordHash],
    accounts: Mapping[str, tuple[str, ...]],
) -> Iterator[User]:
    is_open = fleet.broker.profile is Profile.OPEN
    mark = ownership_mark(fleet)
    monitors = {user.name for user in fleet.broker.users if user.role == roles.MONITOR}
    for name in declared_users(fleet):
        of_role = (MONITORING,) if name in monitors else ()
        tags = ("administrator", mark) if is_open and name == fleet.broker.user else (*of_role, mark)
        for user in accounts.get(name, (name,)):
            secret = passwords.get(user)
            password = Password(secret.reveal()) if isinstance(secret, Secret) else secret
            yield User(name=user, tags=tags, password=password)


def _grants(fleet: Fleet) -> Iterator[roles.Grant]:
    broker = fleet.broker
    yield _main_grant(fleet)
    for host in roles.hosts_with_users(fleet):
        yield roles.host(fleet, host)
        yield roles.host_sender(fleet, host)
    yield from (roles.further(fleet, user) for user in broker.users)
    # An administrator needs a permission, too, to delete through the HTTP API; whoever creates a vhost there
    # gets this one silently, so it is declared instead.
    if broker.management and broker.management.user not in declared_users(fleet):
        yield roles.everything(fleet, broker.management.user)


def _main_grant(fleet: Fleet) -> roles.Grant:
    user = fleet.broker.user
    match fleet.broker.profile:
        case Profile.OPEN:
            return roles.everything(fleet, user)
        case Profile.PER_HOST:
            # Hosts have users of their own, so the fleet's only sends: for beat, and by hand.
            return roles.publisher(fleet, user, ())
        case Profile.LEAST_PRIVILEGE:
            return roles.worker(fleet, user)


def _exchanges(fleet: Fleet) -> Iterator[Exchange]:
    vhost = fleet.broker.vhost
    topics = (TASK_EXCHANGE, JOURNAL_EXCHANGE, DELAY_DELIVERY_EXCHANGE, *map(_level, range(DELAY_LEVELS)))
    yield Exchange(vhost=vhost, name=DEAD_LETTER_EXCHANGE, type="direct")
    yield from (Exchange(vhost=vhost, name=name, type="topic") for name in topics)


def _queues(fleet: Fleet) -> Iterator[DeclaredQueue]:
    vhost = fleet.broker.vhost
    for queue in broker_queues(fleet):
        yield DeclaredQueue(vhost=vhost, name=queue.name, type="quorum")
    for name in _dead_letter_queues(fleet):
        yield DeclaredQueue(vhost=vhost, name=name, type="quorum")
    yield DeclaredQueue(vhost=vhost, name=JOURNAL_STREAM, type="stream", arguments=JOURNAL_ARGUMENTS)
    for level in range(DELAY_LEVELS):
        yield DeclaredQueue(vhost=vhost, name=_level(level), type="quorum", arguments=_delay_arguments(level))


def _delay_arguments(level: int) -> Arguments:
    """Return what Celery declares for a level: wait 2^level seconds, then go on to the next one."""
    return Arguments(
        {
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": _level(level - 1) if level else DELAY_DELIVERY_EXCHANGE,
            "x-dead-letter-strategy": "at-least-once",
        }
    )


def _bindings(fleet: Fleet) -> Iterator[Binding]:
    vhost = fleet.broker.vhost
    for queue in broker_queues(fleet):
        # A delayed message arrives with its delay in front of the key, hence the "#".
        key = f"#.{queue.name}"
        yield Binding(vhost=vhost, source=TASK_EXCHANGE, destination=queue.name, routing_key=key)
        yield _between(vhost, DELAY_DELIVERY_EXCHANGE, TASK_EXCHANGE, key)
    for name in _dead_letter_queues(fleet):
        yield Binding(vhost=vhost, source=DEAD_LETTER_EXCHANGE, destination=name, routing_key=name)
    yield Binding(vhost=vhost, source=JOURNAL_EXCHANGE, destination=JOURNAL_STREAM, routing_key="#")
    for level in range(DELAY_LEVELS):
        bit = "*." * (DELAY_LEVELS - 1 - level)
        yield Binding(vhost=vhost, source=_level(level), destination=_level(level), routing_key=f"{bit}1.#")
        after = _level(level - 1) if level else DELAY_DELIVERY_EXCHANGE
        yield _between(vhost, _level(level), after, f"{bit}0.#")


def _between(vhost: str, source: str, destination: str, key: str) -> Binding:
    return Binding(
        vhost=vhost, source=source, destination=destination, destination_type="exchange", routing_key=key
    )


def _policies(fleet: Fleet, version: tuple[int, ...]) -> Iterator[Policy]:
    for queue in fleet.queues:
        carried = [carrier.name for carrier in broker_queues(fleet) if carrier.queue == queue.name]
        yield Policy(
            vhost=fleet.broker.vhost,
            name=f"{POLICY_PREFIX}{queue.name}",
            pattern=names(carried),
            priority=POLICY_PRIORITY,
            definition=Arguments(_queue_settings(queue, version)),
        )
        yield Policy(
            vhost=fleet.broker.vhost,
            name=dead_letter_queue_name(queue.name),
            pattern=names((dead_letter_queue_name(queue.name),)),
            priority=POLICY_PRIORITY,
            definition=Arguments(_dead_letter_settings(queue, version)),
        )


def _queue_settings(queue: Queue, version: tuple[int, ...]) -> dict[str, object]:
    settings: dict[str, object] = {
        "dead-letter-exchange": DEAD_LETTER_EXCHANGE,
        "dead-letter-routing-key": dead_letter_queue_name(queue.name),
        # The message leaves its queue only when the dead-letter queue has confirmed it; needs reject-publish.
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
        "delivery-limit": queue.delivery_limit,
    }
    if queue.max_length is not None:
        settings["max-length"] = queue.max_length
    if queue.long and version >= CONSUMER_TIMEOUT_SINCE:
        settings["consumer-timeout"] = (queue.max_runtime_seconds + CONSUMER_TIMEOUT_MARGIN_SECONDS) * 1000
    return settings


def _dead_letter_settings(queue: Queue, version: tuple[int, ...]) -> dict[str, object]:
    # What is full refuses more, and the broker keeps it in the queue it comes from: nothing is dropped.
    settings: dict[str, object] = {"max-length": queue.max_dead_letters, "overflow": "reject-publish"}
    if version >= DEFAULT_DELIVERY_LIMIT_SINCE:
        # Looking at a dead letter and putting it back must not, after some times, delete it. Older brokers
        # have no limit unless a policy sets one, and of all policies only the one above applies.
        settings["delivery-limit"] = -1
    return settings


def _dead_letter_queues(fleet: Fleet) -> tuple[str, ...]:
    return tuple(dead_letter_queue_name(queue.name) for queue in fleet.queues)


def _level(level: int) -> str:
    return f"celery_delayed_{level}"


def _refuse_shared_names(fleet: Fleet) -> None:
    keys = [queue.name for queue in broker_queues(fleet)]
    everything = [*keys, *_dead_letter_queues(fleet), JOURNAL_STREAM]
    if doubled := sorted({name for name in everything if everything.count(name) > 1}):
        raise UsageError(
            f"{fleet.source}: two queues would both be `{doubled[0]}` in the broker",
            hint="rename the queue or the host that brings the name about",
        )
    for key in keys:
        # "#.KEY" matches by suffix, so a delayed or direct message for the longer key would reach both.
        if longer := next((other for other in keys if other.endswith(f".{key}")), None):
            raise UsageError(
                f"{fleet.source}: messages for `{longer}` would reach `{key}` too",
                hint="rename the queue or the host that brings the name about",
            )


def _refuse_disarming_the_provisioner(fleet: Fleet) -> None:
    broker = fleet.broker
    is_open = broker.profile is Profile.OPEN
    limited = [name for name in declared_users(fleet) if not (is_open and name == broker.user)]
    if broker.management and broker.management.user in limited:
        raise UsageError(
            f"{fleet.source}: user `{broker.management.user}` is the management user and also one with"
            " limited rights, so provisioning would take its own rights away",
            hint="name an administrator of its own in [broker.management]",
        )
