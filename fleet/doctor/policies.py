"""Which settings has a queue in the end?

Of all policies that match, only the one of the highest priority applies; an argument of the queue wins over
it (limits excepted, which no check here asks for): https://www.rabbitmq.com/docs/parameters#policies
"""

from provisioning.broker.expression import finds
from provisioning.broker.objects import OperatorPolicy, Queue
from provisioning.broker.policies import policy_of
from provisioning.broker.state import State
from provisioning.errors import UnreadableExpression

#: the exchange that leads every message to the queue that its key names
DEFAULT_EXCHANGE = ""


def operator_policy_of(queue: Queue, state: State) -> OperatorPolicy | None:
    """Return the operator policy that applies to ``queue``."""
    return policy_of(queue, state.operator_policies)


def matches(pattern: str, name: str) -> bool:
    """Tell whether an expression of the broker finds ``name``; one that is not understood finds nothing."""
    try:
        return finds(pattern, name)
    except UnreadableExpression:
        return False


def setting(queue: Queue, state: State, name: str) -> object:
    """Return setting ``name`` (as in a policy) of ``queue``, from its arguments or its policy; or None."""
    argument = queue.arguments.get(f"x-{name}")
    if argument is not None:
        return argument
    policy = policy_of(queue, state.policies)
    return policy.definition.get(name) if policy else None


def exists(state: State, vhost: str, exchange: str) -> bool:
    """Tell whether the exchange is there; definitions leave out the broker's own."""
    own = exchange == DEFAULT_EXCHANGE or exchange.startswith("amq.")
    return own or any(e.name == exchange for e in state.exchanges if e.vhost == vhost)
