"""Are the broker's users apart from each other, and is nothing asked of the broker that it cannot do?"""

from fleet.accounts import SUFFIX, declared_name
from fleet.config.checks.draft import Draft
from fleet.config.convert import HOST_VARIABLE
from fleet.config.locate import Path
from fleet.model import SCHEDULER, BrokerUser, Host, Kind, Profile

#: objects of every broker that are never a fleet's own
FOREIGN_VHOST = "/"
FOREIGN_USER = "guest"
#: what users log in with; the last is of the second of a host's two
HOST_SECRETS = ("password", "password_hash", "sender_password_hash")
EXAMPLE = 'such as host_password = "file:/etc/fleet/{host}.password" in [broker]'
PER_HOST = 'profile = "per-host" in [broker] gives each host a user of its own'


def check_names(draft: Draft) -> None:
    """The vhost is not ``/``, the user neither ``guest`` nor a rotated one; a vhost of Redis is a number."""
    broker = draft.fleet.broker
    if broker.kind is Kind.REDIS:
        if not (broker.vhost.isascii() and broker.vhost.isdigit()):
            draft.problems.add(
                ("broker", "vhost"),
                f"`{broker.vhost}` is not the number of a Redis database",
                hint="such as 0",
            )
        return
    if broker.vhost == FOREIGN_VHOST:
        draft.problems.add(
            ("broker", "vhost"),
            "`/` is the broker's own vhost, which fleet never touches",
            hint='such as vhost = "celery"',
        )
    if broker.user == FOREIGN_USER:
        draft.problems.add(
            ("broker", "user"),
            "`guest` is the broker's own user, which fleet never touches",
            hint='such as user = "celery"',
        )
    if broker.user.endswith(SUFFIX):
        draft.problems.add(
            ("broker", "user"),
            f"`{broker.user}` ends in `{SUFFIX}`, as the name of a user does whose password was rotated",
            hint=f'user = "{declared_name(broker.user)}"',
        )


def check_users(draft: Draft) -> None:
    """No user has two roles, and a publisher's queues exist."""
    broker = draft.fleet.broker
    administrator = broker.management.user if broker.management else None
    if administrator == broker.user and broker.profile is not Profile.OPEN:
        draft.problems.add(
            ("broker", "management", "user"),
            f"`{administrator}` is the fleet's own user, which is no administrator under least privilege",
            hint="name another user with the tag administrator",
        )
    for user in broker.users:
        path = ("broker", "users", user.name)
        if user.name in (broker.user, administrator, FOREIGN_USER):
            draft.problems.add(path, f"the user `{user.name}` has another role already")
        if user.queues and user.role != "publisher":
            draft.problems.add((*path, "queues"), f"applies to publishers only, and the role is {user.role}")
        for index, name in enumerate(user.queues):
            draft.queue(name, (*path, "queues", index))


def check_host_users(draft: Draft) -> None:
    """With the profile ``per-host`` each host has a user and a password of its own; else none has.

    No host's password is beat's either, which lies on one of them.
    """
    fleet, file = draft.fleet, draft.file.broker
    if fleet.broker.profile is not Profile.PER_HOST:
        _refuse_host_passwords(draft)
        return
    if file.host_password is not None and HOST_VARIABLE not in file.host_password:
        draft.problems.add(
            ("broker", "host_password"),
            f"does not contain `{HOST_VARIABLE}`, so all hosts would have one password",
            hint=EXAMPLE,
        )
        return
    for host in fleet.hosts:
        if host.password is None:
            message = "`password` of the host's broker user is missing"
            draft.problems.add(("hosts", host.name), message, hint=EXAMPLE)
    _check_apart(draft)


def _check_apart(draft: Draft) -> None:
    """Note the hosts whose broker user or whose password is somebody else's, too."""
    fleet, broker = draft.fleet, draft.fleet.broker
    others = {broker.user, *(user.name for user in broker.users)}
    others |= {broker.management.user} if broker.management else set()
    for host in fleet.hosts:
        for user in sorted({broker.host_user(host.name), broker.host_sender(host.name)} & others):
            draft.problems.add(("hosts", host.name), f"its broker user `{user}` has another role already")
    owners: dict[object, str] = {broker.password: f"user `{broker.user}`"}
    if broker.password_hash is not None:
        owners[broker.password_hash] = f"user `{broker.user}`"
    # What lies on one host must open nothing that is not that host's.
    schedulers = [user for user in broker.users if user.role == SCHEDULER]
    with_secrets: list[Host | BrokerUser] = [*fleet.hosts, *schedulers]
    for each in with_secrets:
        _check_secrets_apart(draft, each, owners)


def _check_secrets_apart(draft: Draft, each: Host | BrokerUser, owners: dict[object, str]) -> None:
    is_host = isinstance(each, Host)
    path: Path = ("hosts", each.name) if is_host else ("broker", "users", each.name)
    me = f"{'host' if is_host else 'user'} `{each.name}`"
    for key in HOST_SECRETS:
        secret = getattr(each, key, None)
        owner = owners.setdefault(secret, me) if secret else me
        if owner != me:
            what = "password" if key == "password" else "hash"
            draft.problems.add((*path, key), f"is the {what} of {owner}, too")


def _refuse_host_passwords(draft: Draft) -> None:
    written: list[Path] = [
        ("hosts", name, key)
        for name, host in draft.file.hosts.items()
        for key in HOST_SECRETS
        if getattr(host, key)
    ]
    if draft.file.broker.host_password is not None:
        written.insert(0, ("broker", "host_password"))
    for path in written:
        draft.problems.add(path, f"applies to the profile `{Profile.PER_HOST}` only", hint=PER_HOST)


def check_redis_keys(draft: Draft) -> None:
    """No key is given that this kind of broker cannot honour."""
    written = draft.file.broker.model_fields_set
    if draft.fleet.broker.kind is Kind.RABBITMQ:
        if "visibility_timeout" in written:
            draft.problems.add(("broker", "visibility_timeout"), "applies to Redis only")
        return
    for key in ("management", "rabbitmqctl", "rabbitmqctl_host", "users", "tls", "profile", "password_hash"):
        if key in written:
            draft.problems.add(("broker", key), "applies to RabbitMQ only, and the broker is Redis")
    for name, queue in draft.file.queues.items():
        for key in ("delivery_limit", "max_length", "max_dead_letters"):
            if key in queue.model_fields_set:
                draft.problems.add(("queues", name, key), "applies to RabbitMQ only, and the broker is Redis")


def check_rabbitmqctl(draft: Draft) -> None:
    """A host for rabbitmqctl stands beside the command that is to be started there."""
    broker = draft.fleet.broker
    if broker.rabbitmqctl_host is not None and broker.rabbitmqctl is None:
        draft.problems.add(
            ("broker", "rabbitmqctl_host"),
            "says where rabbitmqctl is started, and not how",
            hint="add `rabbitmqctl`; see docs/how-to/provision-a-broker.md",
        )


def check_visibility_timeout(draft: Draft) -> None:
    """With Redis, ``visibility_timeout`` is above the longest run and the longest retry delay."""
    fleet = draft.fleet
    if fleet.broker.kind is not Kind.REDIS:
        return
    longest = max((queue.max_runtime_seconds for queue in fleet.queues), default=0)
    what = "a task here may run"
    if fleet.mail is not None and fleet.mail.retry_max_seconds > longest:
        longest, what = int(fleet.mail.retry_max_seconds), "a mail here may wait for its retry"
    limit = fleet.broker.visibility_timeout_seconds
    if limit is None or limit <= longest:
        draft.problems.add(
            ("broker", "visibility_timeout") if limit is not None else ("broker",),
            f"Redis hands out a task again after visibility_timeout ({limit or 'not set'}), "
            f"and {what} {longest} s: it would run beside itself",
            hint=f"write visibility_timeout above {longest}, or lower `max_runtime` of the queues",
        )
