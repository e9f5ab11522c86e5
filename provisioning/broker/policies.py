"""Which settings has a queue in the end: from its policy, the operator's bound on it, its arguments?

Of all policies that match, only the one of the highest priority applies, and of all operator policies
likewise only one: https://www.rabbitmq.com/docs/parameters#policies
"""

import re
from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import groupby, product
from operator import attrgetter
from typing import TypeVar

from provisioning.broker.expression import finds
from provisioning.broker.objects import OperatorPolicy, Policy, Queue
from provisioning.errors import UnreadableExpression

AnyPolicy = Policy | OperatorPolicy
_P = TypeVar("_P", Policy, OperatorPolicy)
_FOR_QUEUES = ("queues", "all")
_FOR_TYPE = {"classic": "classic_queues", "quorum": "quorum_queues", "stream": "streams"}
_AGE = re.compile(r"([0-9]+)([YMDhms])")
_SECONDS = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3_600, "m": 60, "s": 1}


def policy_of(queue: Queue, policies: Iterable[_P]) -> _P | None:
    """Return the policy that applies to ``queue``; one whose pattern is not understood here does not."""
    matching = [policy for policy in policies if may_apply(policy, queue, unread=False)]
    return max(matching, key=attrgetter("priority"), default=None)


def possible(queue: Queue, policies: Iterable[_P]) -> list[_P | None]:
    """Return all that may apply to ``queue``, where two rank alike or a pattern is not understood."""
    found: list[_P | None] = []
    ranked = sorted(policies, key=attrgetter("priority"), reverse=True)
    for _, rank in groupby(ranked, key=attrgetter("priority")):
        matching = [policy for policy in rank if may_apply(policy, queue)]
        found += matching
        if any(may_apply(policy, queue, unread=False) for policy in matching):
            return found
    found.append(None)
    return found


def may_apply(policy: AnyPolicy, queue: Queue, *, unread: bool = True) -> bool:
    """Tell whether ``policy`` is for ``queue``; ``unread`` is the answer if its pattern is not understood."""
    if policy.vhost != queue.vhost or policy.apply_to not in (*_FOR_QUEUES, _FOR_TYPE.get(queue.type, "")):
        return False
    try:
        return finds(policy.pattern, queue.name)
    except UnreadableExpression:
        return unread


def settings(queue: Queue, policies: Iterable[AnyPolicy]) -> list[Mapping[str, object]]:
    """Return the settings, named as in a policy, that ``queue`` may have by ``policies``; most often one."""
    known = tuple(policies)
    own = possible(queue, [policy for policy in known if isinstance(policy, Policy)])
    bounds = possible(queue, [policy for policy in known if isinstance(policy, OperatorPolicy)])
    arguments = {name.removeprefix("x-"): value for name, value in queue.arguments.items()}
    return [
        reduce(_stricter, (bound.definition if bound else {}, arguments), policy.definition if policy else {})
        for policy, bound in product(own, bounds)
    ]


def amount(value: object) -> float | None:
    """Return a limit as a number, an age such as `7D` in seconds; None means no limit."""
    if isinstance(value, int):
        return None if value < 0 else value
    age = _AGE.fullmatch(value) if isinstance(value, str) else None
    return int(age[1]) * _SECONDS[age[2]] if age else None


def _stricter(under: Mapping[str, object], over: Mapping[str, object]) -> Mapping[str, object]:
    """Return both: of two limits the lower one holds, of anything else what is in ``over``."""
    merged = {**under, **over}
    for name in under.keys() & over.keys():
        one, other = amount(under[name]), amount(over[name])
        if one is not None and (other is None or one < other):
            merged[name] = under[name]
    return merged
