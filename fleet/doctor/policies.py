"""Which settings has a queue in the end, and where does what it gives up go?

Of all policies that match, only the one of the highest priority applies; an argument of the queue wins over
it (limits excepted, which no check here asks for): https://www.rabbitmq.com/docs/parameters#policies
"""

from collections.abc import Iterator, Mapping

from provisioning.broker.expression import finds
from provisioning.broker.objects import Binding, OperatorPolicy, Queue
from provisioning.broker.policies import policy_of
from provisioning.broker.routing import topic_matches
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


def leads_to(state: State, vhost: str, exchange: str, key: str | None) -> bool:
    """Tell whether a message for ``exchange`` with ``key`` reaches a queue; None means any key."""
    return _leads(Routes(state, vhost), exchange, key, frozenset())


class Routes:
    """The exchanges and bindings of one vhost."""

    def __init__(self, state: State, vhost: str) -> None:
        self.types: Mapping[str, str] = {e.name: e.type for e in state.exchanges if e.vhost == vhost}
        self.queues = frozenset(queue.name for queue in state.queues if queue.vhost == vhost)
        self._bindings = tuple(binding for binding in state.bindings if binding.vhost == vhost)

    def bindings_of(self, source: str) -> Iterator[Binding]:
        """Yield what is bound to exchange ``source``."""
        return (binding for binding in self._bindings if binding.source == source)


def exists(state: State, vhost: str, exchange: str) -> bool:
    """Tell whether the exchange is there; definitions leave out the broker's own."""
    own = exchange == DEFAULT_EXCHANGE or exchange.startswith("amq.")
    return own or any(e.name == exchange for e in state.exchanges if e.vhost == vhost)


def _leads(routes: Routes, exchange: str, key: str | None, seen: frozenset[str]) -> bool:
    if exchange == DEFAULT_EXCHANGE:
        return key is None or key in routes.queues
    if exchange in seen:
        return False
    kind = routes.types.get(exchange, _own_type(exchange))
    for binding in routes.bindings_of(exchange):
        if key is not None and not _binding_takes(kind, binding, key):
            continue
        if binding.destination_type == Queue.KIND:
            if binding.destination in routes.queues:
                return True
        elif _leads(routes, binding.destination, key, seen | {exchange}):
            return True
    return False


def _own_type(exchange: str) -> str:
    return exchange.removeprefix("amq.")


def _binding_takes(kind: str, binding: Binding, key: str) -> bool:
    if kind == "direct":
        return binding.routing_key == key
    if kind == "topic":
        return topic_matches(binding.routing_key, key)
    # A fanout takes all; what headers and plugins decide cannot be told from the key.
    return True
