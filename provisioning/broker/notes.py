"""What should an operator know about a plan that is no change and no error?"""

from collections.abc import Iterable, Iterator

from provisioning.broker.expression import finds
from provisioning.broker.objects import Exchange, OperatorPolicy, Policy, Queue
from provisioning.broker.state import State
from provisioning.errors import UnreadableExpression
from provisioning.plan import Resource

#: what `apply-to` takes in: exchanges, and queues of these types
_QUEUE_TYPES = {"classic_queues": "classic", "quorum_queues": "quorum", "streams": "stream"}


def notes(desired: State, seen: Iterable[Resource]) -> tuple[str, ...]:
    """Return a line for each declared policy that matches nothing that is there or declared."""
    known = {resource.identity: resource for resource in (*seen, *desired)}
    targets = [resource for resource in known.values() if isinstance(resource, Exchange | Queue)]
    policies: tuple[Policy | OperatorPolicy, ...] = (*desired.policies, *desired.operator_policies)
    return tuple(
        f"{policy.label} matches nothing that lasts: no {_what(policy)} matches `{policy.pattern}`"
        for policy in policies
        if not any(_matches(policy, targets))
    )


def _matches(policy: Policy | OperatorPolicy, targets: Iterable[Exchange | Queue]) -> Iterator[bool]:
    for target in targets:
        if target.vhost == policy.vhost and _applies(policy.apply_to, target):
            try:
                yield finds(policy.pattern, target.name)
            except UnreadableExpression:
                # The broker reads it, this does not: no claim is made.
                yield True


def _applies(apply_to: str, target: Exchange | Queue) -> bool:
    if isinstance(target, Exchange):
        return apply_to in ("all", "exchanges")
    return apply_to in ("all", "queues") or _QUEUE_TYPES.get(apply_to) == target.type


def _what(policy: Policy | OperatorPolicy) -> str:
    names = {"all": "queue or exchange", "queues": "queue", "exchanges": "exchange"}
    return names.get(policy.apply_to, policy.apply_to.replace("_", " ").removesuffix("s"))
