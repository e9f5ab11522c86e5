"""Random broker states in which everything that is referred to exists."""

from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

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
from provisioning.broker.parameters import GlobalParameter, Json, Parameter
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.plan import Resource
from tests.broker_model import state

MARK = "ours"
NAMES = ("a", "b")
PASSWORDS = ("secret-1!", "secret-2!")
REGEXES = ("^$", "^a$")
DEFINITIONS = (
    Arguments({"max-length": 1, "overflow": "reject-publish"}),
    Arguments({"max-length": 2, "overflow": "drop-head", "dead-letter-exchange": "b"}),
)
#: what matches nothing, one of the queues, or all; and with which priority
PATTERNS = (("^none$", 0), ("^a$", 1), (".*", 2))
ARGUMENTS = (Arguments(), Arguments({"x": 1}), Arguments({"x": True}))

LIMITS = (None, Arguments(), Arguments({"max-connections": 100}), Arguments({"max-connections": -1}))
#: the vhost that everything is in: what it says nothing of is left alone
VHOSTS = (
    Vhost(name="v"),
    Vhost(name="v", description="for ü", tags=("y", "x")),
    Vhost(name="v", description="", tags=()),
    Vhost(name="v", limits=Arguments({"max-connections": 100, "max-queues": 900})),
    Vhost(name="v", description="with 'limits'", limits=Arguments({"max-queues": -1})),
    Vhost(name="v", limits=Arguments()),
)
#: every object that a state may hold, in several variants of each
POOL: tuple[Resource, ...] = (
    *(
        User(name=n, tags=(MARK,), password=Password(p), limits=limits)
        for n, p, limits in product(NAMES, PASSWORDS, (*LIMITS, Arguments({"max-channels": 9})))
    ),
    *(Permission(vhost="v", user=n, configure=r, write=r, read=r) for n, r in product(NAMES, REGEXES)),
    *(TopicPermission(vhost="v", user=n, exchange="a", write=r, read=r) for n, r in product(NAMES, REGEXES)),
    *(
        Policy(vhost="v", name=n, pattern=p, priority=r, definition=d)
        for n, d, (p, r) in product(NAMES, DEFINITIONS, PATTERNS)
    ),
    *(
        OperatorPolicy(vhost="v", name=n, pattern=p, definition=Arguments({"max-length": 9}))
        for n, (p, _) in product(NAMES, PATTERNS)
    ),
    *(Exchange(vhost="v", name=n, type=t) for n, t in product(NAMES, ("topic", "direct"))),
    *(Queue(vhost="v", name=n, type="quorum", arguments=a) for n, a in product(NAMES, ARGUMENTS)),
    *(
        Binding(vhost="v", source=e, destination=q, routing_key=k)
        for e, q, k in product(NAMES, NAMES, ("k", "l"))
    ),
    *(
        Binding(vhost="v", source="a", destination="b", destination_type="exchange", routing_key=k)
        for k in ("", "x.#")
    ),
    *(Queue(vhost="v", name=n, type=t) for n, t in product(NAMES, ("classic", "stream"))),
)
#: what a broker without plugins does not take, and what belongs to nobody
PARAMETERS: tuple[Resource, ...] = (
    *(
        Parameter(vhost="v", component=c, name="p", value=Json(value))
        for c, value in product(
            ("shovel", "federation"), ({"src-uri": f"amqp://u:{PASSWORDS[0]}@h"}, {}, [1])
        )
    ),
    *(GlobalParameter(name="g", value=Json(value)) for value in ("text", {"token": PASSWORDS[0]})),
)


def states() -> st.SearchStrategy[State]:
    """Return states of vhost ``v``, parameters included."""
    return _states((*POOL, *PARAMETERS))


def plain_states() -> st.SearchStrategy[State]:
    """Return states of vhost ``v`` that a broker without plugins can hold."""
    return _states(POOL)


def _states(pool: Sequence[Resource]) -> st.SearchStrategy[State]:
    chosen = st.lists(st.sampled_from(pool), max_size=16, unique_by=lambda resource: resource.identity)
    return st.builds(_consistent, st.sampled_from(VHOSTS), chosen)


def _consistent(vhost: Vhost, chosen: Sequence[Resource]) -> State:
    there = {resource.identity for resource in chosen}
    kept = [resource for resource in chosen if there.issuperset(resource.requires)]
    return state([vhost, *kept], mark=MARK)
