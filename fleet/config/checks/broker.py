"""Are the broker's users apart from each other, and is nothing asked of the broker that it cannot do?"""

from fleet.config.checks.draft import Draft
from fleet.model import Kind, Profile

#: objects of every broker that are never a fleet's own
FOREIGN_VHOST = "/"
FOREIGN_USER = "guest"


def check_names(draft: Draft) -> None:
    """The vhost is not ``/`` and the user not ``guest``; with Redis, the vhost is a number."""
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


def check_users(draft: Draft) -> None:
    """No user has two roles, and a publisher's queues exist."""
    broker = draft.fleet.broker
    administrator = broker.management.user if broker.management else None
    if administrator == broker.user and broker.profile is Profile.LEAST_PRIVILEGE:
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


def check_redis_keys(draft: Draft) -> None:
    """No key is given that this kind of broker cannot honour."""
    written = draft.file.broker.model_fields_set
    if draft.fleet.broker.kind is Kind.RABBITMQ:
        if "visibility_timeout" in written:
            draft.problems.add(("broker", "visibility_timeout"), "applies to Redis only")
        return
    for key in ("management", "rabbitmqctl", "users", "tls", "profile", "password_hash"):
        if key in written:
            draft.problems.add(("broker", key), "applies to RabbitMQ only, and the broker is Redis")
    for name, queue in draft.file.queues.items():
        for key in ("delivery_limit", "max_length", "max_dead_letters"):
            if key in queue.model_fields_set:
                draft.problems.add(("queues", name, key), "applies to RabbitMQ only, and the broker is Redis")


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
