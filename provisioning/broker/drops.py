"""Which changes of policies make queues drop messages, or themselves, that they kept before?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from provisioning.broker.objects import OperatorPolicy, Policy, Queue
from provisioning.broker.policies import AnyPolicy, amount, may_apply, settings
from provisioning.plan import Change, Identity, Loss, Lost, Resource

#: limits beyond which messages, or whole queues, are dropped; lengths may refuse instead
LENGTHS = ("max-length", "max-length-bytes")
DROPPING = (*LENGTHS, "message-ttl", "expires", "max-age")
DELIVERIES = "delivery-limit"
DEAD_LETTERS = "dead-letter-exchange"


def dropping(changes: Sequence[Change], actual: Mapping[Identity, Resource]) -> dict[Identity, Loss]:
    """Return what each change of a policy makes queues drop, made one after the other in this order.

    One after the other, because what one policy does depends on all others: a lower one may come to light.
    """
    changed = [change for change in changes if isinstance(change.resource, Policy | OperatorPolicy)]
    if not changed:
        return {}
    gone = {change.identity for change in changes if change.destroys}
    queues = [r for i, r in actual.items() if isinstance(r, Queue) and i not in gone]
    policies: dict[str, dict[Identity, AnyPolicy]] = {}
    for identity, resource in actual.items():
        if isinstance(resource, Policy | OperatorPolicy):
            policies.setdefault(resource.vhost, {})[identity] = resource
    found = {}
    for change in changed:
        there = policies.setdefault(change.identity[1], {})
        touched = [queue for queue in queues if _touches(change, queue)]
        before = [settings(queue, there.values()) for queue in touched]
        _make(change, there)
        after = [settings(queue, there.values()) for queue in touched]
        lost = {q.name: d for q, b, a in zip(touched, before, after, strict=True) if (d := _drops(q, b, a))}
        if lost:
            found[change.identity] = Loss(what=Lost.DATA, reason=_reason(lost))
    return found


def _touches(change: Change, queue: Queue) -> bool:
    sides = (change.before, change.after)
    return any(may_apply(p, queue) for p in sides if isinstance(p, Policy | OperatorPolicy))


def _make(change: Change, policies: dict[Identity, AnyPolicy]) -> None:
    if isinstance(change.after, Policy | OperatorPolicy):
        policies[change.identity] = change.after
    else:
        policies.pop(change.identity, None)


def _drops(queue: Queue, before: list[Mapping[str, object]], after: list[Mapping[str, object]]) -> list[str]:
    """Return beyond what ``queue`` may drop messages, after a change, that it kept before."""
    if before == after:
        return []
    return sorted({name for old, new in product(before, after) for name in _new_drops(queue, old, new)})


def _new_drops(queue: Queue, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    kept = _limits(queue, old)
    yield from (name for name, limit in _limits(queue, new).items() if limit < kept.get(name, float("inf")))
    if DEAD_LETTERS in old and DEAD_LETTERS not in new:
        yield DEAD_LETTERS


def _limits(queue: Queue, chosen: Mapping[str, object]) -> dict[str, float]:
    """Return the limits beyond which ``queue`` drops."""
    names = list(DROPPING)
    if str(chosen.get("overflow", "")).startswith("reject-publish"):
        names = [name for name in names if name not in LENGTHS]
    # Only quorum queues count deliveries, and what goes to dead letters is not lost.
    if queue.type == "quorum" and DEAD_LETTERS not in chosen:
        names.append(DELIVERIES)
    limits = {name: amount(chosen.get(name)) for name in names}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _reason(lost: Mapping[str, Iterable[str]]) -> str:
    names = sorted({name for each in lost.values() for name in each})
    limits = ", ".join(name for name in names if name != DEAD_LETTERS)
    told = [f"messages or queues beyond {limits}"] if limits else []
    told += ["dead letters"] if DEAD_LETTERS in names else []
    first, *more = sorted(lost)
    where = f"queue {first}" + (f" and {len(more)} more" if more else "")
    return f"{' and '.join(told)} are dropped ({where})"
