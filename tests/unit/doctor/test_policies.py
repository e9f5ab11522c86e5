"""Which setting a queue has in the end."""

from fleet.doctor.policies import setting
from provisioning.broker.objects import Binding, Policy, Queue
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


def test_a_key_that_ends_alike_inside_a_word_is_another_key() -> None:
    near = Binding(vhost="celery", source="fleet.tasks", destination="other", routing_key="#.mail")
    facts = with_state(sound(), bindings=lambda all_: [*all_, near])
    assert said(facts, "suffixes") == ["ok: no key of 4 is the end of another"]
