"""What is wrong with a desired state, whatever broker it is for?

What a broker would refuse half-way, or take and do something else with: found before anything is changed.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping

from provisioning.broker.objects import (
    Binding,
    Exchange,
    OperatorPolicy,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.passwords import HASHING_ALGORITHMS, SALT_BYTES, PasswordHash
from provisioning.broker.regexes import fault as expression_fault
from provisioning.broker.resource import Arguments
from provisioning.plan import Resource

QUEUE_TYPES = ("classic", "quorum", "stream")
REPLICATED = ("quorum", "stream")
LONGEST_NAME_BYTES = 255
VHOST_LIMIT_NAMES = ("max-connections", "max-queues")
USER_LIMIT_NAMES = ("max-connections", "max-channels")
APPLY_TO = ("all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams")
#: what every client and server takes out of a URL
NOT_IN_URLS = frozenset({".", ".."})
EXPRESSIONS = ("configure", "write", "read")


def faults(resources: Iterable[Resource]) -> Iterator[str]:
    """Yield what is wrong: the object, the field, the value."""
    seen = set()
    for resource in resources:
        if resource.identity in seen:
            yield f"{resource.label} is declared twice"
        seen.add(resource.identity)
        for found in (*_name_faults(resource), *_own_faults(resource)):
            yield f"{resource.label}: {found}"


def _name_faults(resource: Resource) -> Iterator[str]:
    for key in resource.identity[1:]:
        if len(key.encode()) > LONGEST_NAME_BYTES and not isinstance(resource, Binding):
            yield f"a name has at most {LONGEST_NAME_BYTES} bytes"
        if "\0" in key:
            yield "a name cannot hold the character U+0000"
    if not isinstance(resource, Binding) and NOT_IN_URLS & set(resource.identity[1:]):
        yield "a name that is `.` or `..` cannot be part of a URL, so the broker's API cannot reach it"
    if isinstance(resource, Vhost | User | Policy | OperatorPolicy | Queue) and not resource.name:
        yield "`name` is empty"


def _own_faults(resource: Resource) -> Iterator[str]:
    match resource:
        case Vhost():
            yield from _vhost_faults(resource)
        case User():
            yield from _user_faults(resource)
        case Permission() | TopicPermission():
            yield from _expression_faults(resource)
        case Policy() | OperatorPolicy():
            yield from _policy_faults(resource)
        case Queue():
            yield from _queue_faults(resource)
        case Binding() if resource.destination_type not in (Queue.KIND, Exchange.KIND):
            yield f"`destination_type` is `queue` or `exchange`, not `{resource.destination_type}`"


def _vhost_faults(vhost: Vhost) -> Iterator[str]:
    if vhost.default_queue_type not in (None, *QUEUE_TYPES):
        yield f"`default_queue_type` is one of {_listed(QUEUE_TYPES)}, not `{vhost.default_queue_type}`"
    yield from _limit_faults(vhost.limits, VHOST_LIMIT_NAMES)


def _user_faults(user: User) -> Iterator[str]:
    if isinstance(user.password, PasswordHash):
        if user.password.algorithm not in HASHING_ALGORITHMS:
            yield f"`hashing_algorithm` is one of {_listed(HASHING_ALGORITHMS)}"
        if not _is_salted_hash(user.password.salted):
            yield "`password_hash` is not base64 of a salt and a hash; `hash-password` makes one"
    yield from _limit_faults(user.limits, USER_LIMIT_NAMES)


def _is_salted_hash(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > SALT_BYTES
    except (binascii.Error, ValueError):
        return False


def _limit_faults(limits: Arguments | None, known: tuple[str, ...]) -> Iterator[str]:
    for name, value in (limits or {}).items():
        if name not in known:
            yield f"`limits` holds one of {_listed(known)}, not `{name}`"
        elif not isinstance(value, int) or isinstance(value, bool):
            yield f"the limit `{name}` is a whole number; below 0 is no limit"


def _expression_faults(grant: Permission | TopicPermission) -> Iterator[str]:
    for name in EXPRESSIONS:
        expression = getattr(grant, name, "")
        if found := expression_fault(expression):
            yield f"`{name}` is a regular expression that RabbitMQ refuses: `{expression}`: {found}"


def _policy_faults(policy: Policy | OperatorPolicy) -> Iterator[str]:
    if found := expression_fault(policy.pattern):
        yield f"`pattern` is a regular expression that RabbitMQ refuses: `{policy.pattern}`: {found}"
    if policy.apply_to not in APPLY_TO:
        yield f"`apply-to` is one of {_listed(APPLY_TO)}, not `{policy.apply_to}`"
    if not policy.definition:
        yield "`definition` is empty"


def _queue_faults(queue: Queue) -> Iterator[str]:
    if queue.type not in ("", *QUEUE_TYPES):
        yield f"`type` is one of {_listed(QUEUE_TYPES)}, not `{queue.type}`"
    if queue.type in REPLICATED and (not queue.durable or queue.auto_delete):
        yield f"a {queue.type} queue is durable and never deletes itself"


def _listed(names: Iterable[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names)
