"""Can this broker hold what is desired? Found out before anything is changed.

The tables were measured on 3.10.8 and 4.0.5. Where a release in between is not known, nothing is refused: the
broker decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from provisioning import errors
from provisioning.apply import Observation
from provisioning.broker.objects import (
    USUAL_QUEUE_TYPE,
    OperatorPolicy,
    Policy,
    Queue,
    User,
    Vhost,
)
from provisioning.broker.state import State
from provisioning.broker.tags import LONGEST_TAG, is_kept
from provisioning.plan import Identity, Resource

Version = tuple[int, ...]

FIRST_WITH_DEFAULT_QUEUE_TYPE: Version = (3, 10)
#: before, it is set when the vhost is made and a later request is taken and forgotten
FIRST_TO_CHANGE_DEFAULT_QUEUE_TYPE: Version = (3, 12)
FIRST_WITH_KINDS_OF_QUEUES: Version = (3, 12)
KINDS_OF_QUEUES = frozenset({"classic_queues", "quorum_queues", "streams"})
FIRST_WITHOUT_MIRRORS: Version = (4, 0)

#: keys of policies that came later
KEYS_SINCE: Mapping[str, Version] = MappingProxyType(
    {"consumer-timeout": (3, 12), "stream-filter-size-bytes": (3, 13), "target-group-size": (3, 13)}
)
#: the same for operator policies, which may bound but not route
OPERATOR_KEYS_SINCE: Mapping[str, Version] = MappingProxyType(
    dict.fromkeys(("overflow", "queue-version", "queue-master-locator", "target-group-size"), (3, 11))
)
NEVER_OPERATOR_KEYS = frozenset(
    {
        "alternate-exchange",
        "consumer-timeout",
        "dead-letter-exchange",
        "dead-letter-routing-key",
        "dead-letter-strategy",
        "initial-cluster-size",
        "max-age",
        "queue-leader-locator",
        "queue-mode",
        "stream-filter-size-bytes",
        "stream-max-segment-size-bytes",
    }
)


def settled(desired: State, seen: Observation) -> State:
    """Return ``desired`` with the type of each queue that names none: its own, or its vhost's default.

    RabbitMQ 3.10 does not look at a vhost's default when it imports a queue.
    """
    if all(queue.type for queue in desired.queues):
        return desired
    actual = {resource.identity: resource for resource in seen.resources}
    queues = (queue if queue.type else _typed(queue, desired, actual) for queue in desired.queues)
    return replace(desired, queues=tuple(queues))


def refuse_unfit(desired: State, seen: Observation) -> None:
    """Raise Unsupported with everything that this broker cannot hold; nothing has been changed yet."""
    actual = {resource.identity: resource for resource in seen.resources}
    there = actual.keys() | {resource.identity for resource in desired}
    found = [
        f"{resource.label}: {fault}"
        for resource in desired
        if _is_work(resource, actual.get(resource.identity))
        for fault in (*_missing(resource, there), *_faults(resource, actual, seen.version))
    ]
    if found:
        told = "; ".join(found)
        raise errors.Unsupported(
            f"RabbitMQ {_text(seen.version)} cannot hold this: {told}; nothing was changed"
        )


def _typed(queue: Queue, desired: State, actual: Mapping[Identity, Resource]) -> Queue:
    there = actual.get(queue.identity)
    if isinstance(there, Queue):
        return replace(queue, type=there.type)
    vhost = actual.get((Vhost.KIND, queue.vhost))
    known = vhost if isinstance(vhost, Vhost) else None
    declared = next((v for v in desired.vhosts if v.name == queue.vhost), Vhost(name=queue.vhost))
    return replace(queue, type=declared.over(known).default_queue_type or USUAL_QUEUE_TYPE)


def _is_work(resource: Resource, actual: Resource | None) -> bool:
    return actual is None or bool(resource.differences(actual))


def _missing(resource: Resource, there: set[Identity]) -> Iterator[str]:
    """Yield what the object stands on and nobody has or makes."""
    vhost = getattr(resource, "vhost", None)
    if vhost is not None and (Vhost.KIND, vhost) not in there:
        yield f"there is no vhost {vhost}"
        return
    for kind, *key in resource.requires:
        if (kind, *key) not in there:
            yield f"there is no {kind} {key[-1]}"


def _faults(resource: Resource, actual: Mapping[Identity, Resource], version: Version) -> Iterator[str]:
    match resource:
        case User():
            yield from _tag_faults(resource, actual.get(resource.identity))
        case Vhost():
            yield from _tag_faults(resource, actual.get(resource.identity))
            yield from _vhost_faults(resource, actual.get(resource.identity), version)
        case Policy():
            yield from _policy_faults(resource, version)
        case OperatorPolicy():
            yield from _operator_policy_faults(resource, version)


def _tag_faults(resource: User | Vhost, actual: Resource | None) -> Iterator[str]:
    there = actual.tags or () if isinstance(actual, User | Vhost) else ()
    for tag in resource.tags or ():
        if tag not in there and not is_kept(tag):
            yield (
                f"it would keep the tag `{tag}` as another one: tags are plain ASCII, without blanks around"
                f" them, of no more than {LONGEST_TAG} characters"
            )


def _vhost_faults(vhost: Vhost, actual: Resource | None, version: Version) -> Iterator[str]:
    there = actual if isinstance(actual, Vhost) else None
    wanted = vhost.default_queue_type
    if wanted is None or wanted == Vhost(name=vhost.name).over(there).default_queue_type:
        return
    if version < FIRST_WITH_DEFAULT_QUEUE_TYPE:
        yield f"`default_queue_type` needs {_text(FIRST_WITH_DEFAULT_QUEUE_TYPE)}"
    elif there is not None and version < FIRST_TO_CHANGE_DEFAULT_QUEUE_TYPE:
        yield (
            f"`default_queue_type` of a vhost that is there can be changed from"
            f" {_text(FIRST_TO_CHANGE_DEFAULT_QUEUE_TYPE)} on"
        )


def _policy_faults(policy: Policy, version: Version) -> Iterator[str]:
    for key in policy.definition:
        yield from _too_early(key, KEYS_SINCE, version)
        if key.startswith("ha-") and version >= FIRST_WITHOUT_MIRRORS:
            yield f"`{key}` is gone since {_text(FIRST_WITHOUT_MIRRORS)}: use quorum queues"
    yield from _target_faults(policy, version)


def _operator_policy_faults(policy: OperatorPolicy, version: Version) -> Iterator[str]:
    for key in policy.definition:
        if key in NEVER_OPERATOR_KEYS:
            yield f"`{key}` cannot be in an operator policy"
        yield from _too_early(key, OPERATOR_KEYS_SINCE, version)
    yield from _target_faults(policy, version)


def _too_early(key: str, since: Mapping[str, Version], version: Version) -> Iterator[str]:
    if version < since.get(key, ()):
        yield f"`{key}` needs {_text(since[key])}"


def _target_faults(policy: Policy | OperatorPolicy, version: Version) -> Iterator[str]:
    if policy.apply_to in KINDS_OF_QUEUES and version < FIRST_WITH_KINDS_OF_QUEUES:
        yield f"`apply-to` {policy.apply_to} needs {_text(FIRST_WITH_KINDS_OF_QUEUES)}"


def _text(version: Version) -> str:
    return ".".join(map(str, version)) or "of an unknown version"
