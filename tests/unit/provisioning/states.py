"""Random broker states in which everything that is referred to exists."""

from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Policy,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from provisioning.plan import Resource
from tests.broker_model import state

MARK = "ours"
NAMES = ("a", "b")
PASSWORDS = ("secret-1!", "secret-2!")
REGEXES = ("^$", "^a$")
DEFINITIONS = (Arguments({"max-length": 1}), Arguments({"max-length": 2, "overflow": "drop-head"}))
ARGUMENTS = (Arguments(), Arguments({"x": 1}), Arguments({"x": True}))

#: every object that a state may hold, in several variants of each
POOL: tuple[Resource, ...] = (
    *(User(name=n, tags=(MARK,), password=Password(p)) for n, p in product(NAMES, PASSWORDS)),
    *(Permission(vhost="v", user=n, configure=r, write=r, read=r) for n, r in product(NAMES, REGEXES)),
    *(TopicPermission(vhost="v", user=n, exchange="a", write=r, read=r) for n, r in product(NAMES, REGEXES)),
    *(Policy(vhost="v", name=n, pattern="^none$", definition=d) for n, d in product(NAMES, DEFINITIONS)),
    *(Exchange(vhost="v", name=n, type=t) for n, t in product(NAMES, ("topic", "direct"))),
    *(Queue(vhost="v", name=n, type="quorum", arguments=a) for n, a in product(NAMES, ARGUMENTS)),
    *(
        Binding(vhost="v", source=e, destination=q, routing_key=k)
        for e, q, k in product(NAMES, NAMES, ("k", "l"))
    ),
)


def states() -> st.SearchStrategy[State]:
    """Return states of vhost ``v``."""
    chosen = st.lists(st.sampled_from(POOL), max_size=16, unique_by=lambda resource: resource.identity)
    return chosen.map(_consistent)


def _consistent(chosen: Sequence[Resource]) -> State:
    there = {resource.identity for resource in chosen}
    kept = [resource for resource in chosen if there.issuperset(resource.requires)]
    return state([Vhost(name="v"), *kept], mark=MARK)
