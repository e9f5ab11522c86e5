"""Which setting a queue has in the end, and where its dead letters go."""

import pytest

from fleet.doctor.policies import leads_to, setting
from provisioning.broker.objects import Binding, Exchange, Policy, Queue
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from tests.unit.doctor.sound import said, sound, with_state


def policy(name: str, priority: int, limit: int, *, apply_to: str = "queues", vhost: str = "v") -> Policy:
    definition = Arguments({"max-length": limit})
    return Policy(
        vhost=vhost, name=name, pattern="^q$", apply_to=apply_to, priority=priority, definition=definition
    )


def test_the_policy_of_the_highest_priority_that_applies_wins() -> None:
    queue = Queue(vhost="v", name="q", type="quorum")
    low, high = policy("low", 1, 10), policy("high", 5, 50)
    for policies in ((low, high), (high, low)):
        assert setting(queue, State(policies=policies), "max-length") == 50
    others = (policy("exchanges", 9, 1, apply_to="exchanges"), policy("elsewhere", 9, 2, vhost="w"))
    classic = policy("classic", 9, 3, apply_to="classic_queues")
    assert setting(queue, State(policies=(low, *others, classic)), "max-length") == 10
    assert (
        setting(queue, State(policies=(low, policy("q", 9, 4, apply_to="quorum_queues"))), "max-length") == 4
    )


def test_an_argument_wins_over_a_policy() -> None:
    queue = Queue(vhost="v", name="q", type="quorum", arguments=Arguments({"x-max-length": 7}))
    assert setting(queue, State(policies=(policy("any", 5, 50),)), "max-length") == 7


def binding(source: str, destination: str, key: str = "", *, kind: str = "queue") -> Binding:
    return Binding(vhost="v", source=source, destination=destination, destination_type=kind, routing_key=key)


@pytest.mark.parametrize(
    ("kind", "key", "bound", "leads"),
    [
        ("direct", "k", "k", True),
        ("direct", "k", "l", False),
        ("fanout", "k", "l", True),
        ("topic", "a.k", "#.k", True),
        ("topic", "a.k", "*", False),
        ("headers", "k", "", True),
    ],
)
def test_a_route_follows_the_kind_of_its_exchange(kind: str, key: str, bound: str, *, leads: bool) -> None:
    state = State(
        exchanges=(Exchange(vhost="v", name="e", type=kind),),
        queues=(Queue(vhost="v", name="q", type="quorum"),),
        bindings=(binding("e", "q", bound),),
    )
    assert leads_to(state, "v", "e", key) is leads
    # A binding whose queue is not there leads nowhere.
    assert not leads_to(State(exchanges=state.exchanges, bindings=state.bindings), "v", "e", key)


def test_routes_pass_through_exchanges_and_end_where_they_go_in_circles() -> None:
    exchanges = tuple(Exchange(vhost="v", name=name, type="fanout") for name in ("a", "b"))
    circle = (binding("a", "b", kind="exchange"), binding("b", "a", kind="exchange"))
    queues = (Queue(vhost="v", name="q", type="quorum"),)
    assert not leads_to(State(exchanges=exchanges, queues=queues, bindings=circle), "v", "a", "k")
    through = State(exchanges=exchanges, queues=queues, bindings=(*circle, binding("b", "q")))
    assert leads_to(through, "v", "a", "k")


def test_the_default_exchange_leads_to_the_queue_that_the_key_names() -> None:
    state = State(queues=(Queue(vhost="v", name="q", type="quorum"),))
    assert leads_to(state, "v", "", "q")
    assert not leads_to(state, "v", "", "other")


def test_a_key_that_ends_alike_inside_a_word_is_another_key() -> None:
    near = Binding(vhost="celery", source="fleet.tasks", destination="other", routing_key="#.mail")
    facts = with_state(sound(), bindings=lambda all_: [*all_, near])
    assert said(facts, "suffixes") == ["ok: no key of 4 is the end of another"]
