"""What may each kind of broker user do, and nothing more?

The names are those that Celery and fleet really use. RabbitMQ asks for ``configure`` to declare or delete,
``write`` to publish to an exchange and to bind a queue, ``read`` to consume and to bind to an exchange; on a
topic exchange, topic permissions limit the routing keys too: https://www.rabbitmq.com/docs/access-control

Three rights reach further than they look. ``write`` on ``celery.pidbox`` can stop every worker: operators
have it. ``write`` on ``amq.default`` writes into every queue of the vhost: nobody has it. Whoever may
declare, write and read a name of his own leads messages through it into any exchange that he may write to,
past all topic permissions: operators can, and the one user of ``least-privilege``. By the same way it leads
commands into mailboxes that it may write to, where the broker keeps them open to others (before 4.0): that
one user commands every worker, a host's user those of its host. No expression could prevent it, for a worker
needs all three rights on its mailbox, and an exchange may have the name of a queue. And whoever may send
dead letters back may send any task that some queue carries: operators may, publishers to their queues only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fleet.model import SCHEDULER, BrokerUser, Fleet, Host, Profile
from fleet.routes import (
    DEAD_LETTER_EXCHANGE,
    DELAY_EXCHANGE,
    DELAY_LEVELS,
    JOURNAL_EXCHANGE,
    JOURNAL_STREAM,
    TASK_EXCHANGE,
    audit_key,
    broker_queues,
    worker_queues,
)
from fleet.schedule import destinations
from provisioning.broker.objects import Permission, TopicPermission
from provisioning.broker.permissions import ANYTHING, NOTHING, exactly, literal, names

PUBLISHER = "publisher"
OBSERVER = "observer"
OPERATOR = "operator"
MONITOR = "monitor"

#: exchange of Celery's remote control, and the one that its replies pass through
PIDBOX = literal("celery.pidbox")
PIDBOX_REPLIES = literal("reply.celery.pidbox")
#: exchanges that workers send tasks, later attempts, outcomes and dead letters to
SENDS_TO = (TASK_EXCHANGE, DELAY_EXCHANGE, JOURNAL_EXCHANGE, DEAD_LETTER_EXCHANGE)
#: the host in the name of a worker's mailbox, where it may be any
ANY_HOST = "[^@]+"
#: the mailbox of one who asks
ASKERS_PIDBOX = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[.]reply[.]celery[.]pidbox"
#: what Celery puts in front of a routing key to delay a message: one bit per level
DELAY_PREFIX = f"([01][.]){{{DELAY_LEVELS}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """All that one user may do in the fleet's vhost."""

    permission: Permission
    topic_permissions: tuple[TopicPermission, ...] = ()

    def given_to(self, user: str) -> "Grant":
        """Return the same rights for another user."""
        return Grant(
            permission=replace(self.permission, user=user),
            topic_permissions=tuple(replace(topic, user=user) for topic in self.topic_permissions),
        )


def worker(fleet: Fleet, user: str) -> Grant:
    """Consume all of the fleet's queues, retry into them, report; declare nothing but mailboxes."""
    queues = [queue.name for queue in broker_queues(fleet)]
    consumes = _consumes(fleet, user, queues, on=ANY_HOST)
    sends = _sends(fleet, user, queues, reports_as=[host.name for host in fleet.hosts])
    writes = exactly(PIDBOX_REPLIES, _mailbox(ANY_HOST), *map(literal, SENDS_TO))
    return replace(sends, permission=replace(consumes.permission, write=writes))


def host(fleet: Fleet, host: Host) -> Grant:
    """Consume what the workers of one host serve, and answer commands; send nothing but answers.

    Whoever may declare a mailbox may declare an exchange of its name, too, and bind any exchange that it may
    write to behind that: past all topic permissions. So what sends for this host is another user.
    """
    return _consumes(fleet, fleet.broker.host_user(host.name), _served(fleet, host), on=literal(host.name))


def host_sender(fleet: Fleet, host: Host) -> Grant:
    """Send to the queues that the workers of one host serve, dead letters, and outcomes of this host."""
    return _sends(fleet, fleet.broker.host_sender(host.name), _served(fleet, host), reports_as=[host.name])


def hosts_with_users(fleet: Fleet) -> tuple[Host, ...]:
    """Return the hosts that have a broker user of their own: with that profile, all that run a worker."""
    if fleet.broker.profile is not Profile.PER_HOST:
        return ()
    return tuple(host for host in fleet.hosts if fleet.workers_on(host.name))


def _served(fleet: Fleet, host: Host) -> list[str]:
    found = (worker_queues(fleet, worker.name, host.name) for worker in fleet.workers_on(host.name))
    return list(dict.fromkeys(queue.name for queues in found for queue in queues))


def _consumes(fleet: Fleet, user: str, queues: Iterable[str], *, on: str) -> Grant:
    own = _mailbox(on)
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost,
            user=user,
            configure=exactly(PIDBOX, PIDBOX_REPLIES, own),
            write=exactly(PIDBOX_REPLIES, own),
            read=exactly(PIDBOX, own, *map(literal, queues)),
        )
    )


def _mailbox(host: str) -> str:
    """Return the names of mailboxes of workers (``WORKER-SLOT@HOST``) on the hosts that ``host`` matches."""
    return f"[^@]+@{host}[.]celery[.]pidbox"


def _sends(fleet: Fleet, user: str, queues: Iterable[str], *, reports_as: Iterable[str]) -> Grant:
    journal = TopicPermission(
        vhost=fleet.broker.vhost,
        user=user,
        exchange=JOURNAL_EXCHANGE,
        write=names(reports_as),
        read=NOTHING,
    )
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost,
            user=user,
            configure=NOTHING,
            write=names(SENDS_TO),
            read=NOTHING,
        ),
        topic_permissions=(*_task_keys(fleet, user, queues), journal),
    )


def publisher(fleet: Fleet, user: str, queues: tuple[str, ...]) -> Grant:
    """Enqueue into ``queues`` (all of the fleet's without any), at once or delayed; read nothing."""
    chosen = (queue for queue in broker_queues(fleet) if not queues or queue.queue in queues)
    return _enqueues(fleet, user, [queue.name for queue in chosen])


def scheduler(fleet: Fleet, user: str) -> Grant:
    """Enqueue where the schedule sends to, on no host but those of its entries; read nothing."""
    return _enqueues(fleet, user, [queue.name for queue in destinations(fleet)])


def _enqueues(fleet: Fleet, user: str, keys: Iterable[str]) -> Grant:
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost,
            user=user,
            configure=NOTHING,
            write=names((TASK_EXCHANGE, DELAY_EXCHANGE)),
            read=NOTHING,
        ),
        topic_permissions=_task_keys(fleet, user, keys),
    )


def observer(fleet: Fleet, user: str) -> Grant:
    """Read the journal of finished tasks; nothing else."""
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost,
            user=user,
            configure=NOTHING,
            write=NOTHING,
            read=names((JOURNAL_STREAM,)),
        )
    )


def monitor(fleet: Fleet, user: str) -> Grant:
    """Look at what the management API shows of the vhost (its tag does that); no right to any message.

    The API shows a vhost's queues only to who has some permission in it, so there is one that allows nothing.
    """
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost, user=user, configure=NOTHING, write=NOTHING, read=NOTHING
        )
    )


def operator(fleet: Fleet, user: str) -> Grant:
    """Command workers by remote control, read the journal; take dead letters and send them back, noted."""
    queues = broker_queues(fleet)
    dead = {literal(queue.dead_letter_queue): None for queue in queues}
    tasks, journal = literal(TASK_EXCHANGE), literal(JOURNAL_EXCHANGE)
    # Back into the queue at once, never delayed; and into the journal under nobody else's name.
    keys = {TASK_EXCHANGE: names(queue.name for queue in queues), JOURNAL_EXCHANGE: names((audit_key(user),))}
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost,
            user=user,
            configure=exactly(PIDBOX, PIDBOX_REPLIES, ASKERS_PIDBOX),
            write=exactly(PIDBOX, ASKERS_PIDBOX, tasks, journal),
            read=exactly(PIDBOX_REPLIES, ASKERS_PIDBOX, literal(JOURNAL_STREAM), *dead),
        ),
        topic_permissions=tuple(
            TopicPermission(vhost=fleet.broker.vhost, user=user, exchange=exchange, write=write, read=NOTHING)
            for exchange, write in keys.items()
        ),
    )


def everything(fleet: Fleet, user: str) -> Grant:
    """Do anything in the vhost: the ``open`` profile, and the provisioner."""
    return Grant(
        permission=Permission(
            vhost=fleet.broker.vhost, user=user, configure=ANYTHING, write=ANYTHING, read=ANYTHING
        )
    )


def further(fleet: Fleet, user: BrokerUser) -> Grant:
    """Return the grant of a user of ``[broker.users]``."""
    if user.role == PUBLISHER:
        return publisher(fleet, user.name, user.queues)
    of_role = {SCHEDULER: scheduler, OPERATOR: operator, OBSERVER: observer, MONITOR: monitor}
    return of_role[user.role](fleet, user.name)


def _task_keys(fleet: Fleet, user: str, keys: Iterable[str]) -> tuple[TopicPermission, ...]:
    """Limit what ``user`` writes to tasks, at once or delayed, to these routing keys."""
    wanted = exactly(*(literal(key) for key in keys))
    delayed = NOTHING if wanted == NOTHING else f"^{DELAY_PREFIX}{wanted.removeprefix('^')}"
    return tuple(
        TopicPermission(vhost=fleet.broker.vhost, user=user, exchange=exchange, write=write, read=NOTHING)
        for exchange, write in ((TASK_EXCHANGE, wanted), (DELAY_EXCHANGE, delayed))
    )
