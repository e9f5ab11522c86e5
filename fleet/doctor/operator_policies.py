"""Does an operator policy take from the fleet's queues what the fleet file gives them?

Of what a policy and an operator policy both limit, the smaller value holds:
https://www.rabbitmq.com/docs/parameters#operator-policies
"""

from collections.abc import Iterator, Mapping, Sequence

from fleet.doctor.facts import Facts
from fleet.doctor.finding import Check, Verdict, fail, ok, warn
from fleet.doctor.policies import operator_policy_of, setting
from fleet.doctor.wanted import wanted
from provisioning.broker.objects import OperatorPolicy, Queue
from provisioning.broker.state import State

#: what loses messages, and what becomes of them
_LOSES: Mapping[str, str] = {
    "expires": "the broker deletes a queue, with all that is in it, when no worker has used it for so long",
    "message-ttl": "what waits longer is taken away unread",
}
#: what only limits, and how
_LIMITS: Mapping[str, str] = {
    "max-length": "it holds no more messages, and sending is refused or the oldest go",
    "max-length-bytes": "it holds no more bytes, and sending is refused or the oldest go",
    "delivery-limit": "a message is given up after so many deliveries",
}
_HINT = "change or clear it: `rabbitmqctl set_operator_policy`, `rabbitmqctl clear_operator_policy`"
_SHOWN = 3


def _operator_policies(facts: Facts) -> Iterator[Verdict]:
    state = facts.state or State()
    found: dict[tuple[OperatorPolicy, str], list[Queue]] = {}
    for queue in wanted(facts).queues:
        policy = operator_policy_of(queue, state)
        for key in policy.definition if policy else ():
            if policy and key in {**_LOSES, **_LIMITS} and _is_tighter(policy, key, queue, state):
                found.setdefault((policy, key), []).append(queue)
    for (policy, key), queues in found.items():
        said = f"operator policy {policy.name} sets {key} {policy.definition[key]} for {_named(queues)}"
        if key in _LOSES:
            yield fail(f"{said}: {_LOSES[key]}", _HINT)
        else:
            yield warn(f"{said}: {_LIMITS[key]}", _HINT)
    if not found:
        yield ok("none takes anything from the fleet's queues")


def _is_tighter(policy: OperatorPolicy, key: str, queue: Queue, state: State) -> bool:
    """Tell whether the value is smaller than the one that the queue has otherwise."""
    value, own = policy.definition[key], setting(queue, state, key)
    return not (isinstance(value, int) and isinstance(own, int) and own <= value)


def _named(queues: Sequence[Queue]) -> str:
    shown = ", ".join(queue.name for queue in queues[:_SHOWN])
    return shown + (f" and {len(queues) - _SHOWN} more" if len(queues) > _SHOWN else "")


OPERATOR_POLICIES = Check(
    name="operator-policies",
    about="does an operator policy take from the fleet's queues what the fleet file gives them?",
    needs=("state", "version"),
    run=_operator_policies,
)
