"""What each release can hold, and what a plan should say besides."""

from dataclasses import replace

import pytest

from provisioning import errors
from provisioning.apply import Observation
from provisioning.broker.notes import notes
from provisioning.broker.objects import Exchange, OperatorPolicy, Policy, Queue, User, Vhost
from provisioning.broker.releases import refuse_unfit, settled
from provisioning.broker.resource import Arguments
from provisioning.plan import Resource
from tests.broker_model import state

VHOST = Vhost(name="v")
MADE = VHOST.over(None)
OLD, NEW = (3, 10, 8), (4, 0, 5)


def policy(key: str, *, apply_to: str = "queues") -> Policy:
    return Policy(vhost="v", name="p", pattern="^q", apply_to=apply_to, definition=Arguments({key: 1}))


def bound(key: str) -> OperatorPolicy:
    return OperatorPolicy(vhost="v", name="o", pattern="^q", definition=Arguments({key: 1}))


@pytest.mark.parametrize(
    ("wanted", "version", "message"),
    [
        (policy("consumer-timeout"), OLD, "policy p in vhost v: `consumer-timeout` needs 3.12"),
        (policy("consumer-timeout"), (3, 12, 0), None),
        (policy("ha-mode"), NEW, "`ha-mode` is gone since 4.0: use quorum queues"),
        (policy("ha-mode"), OLD, None),
        (policy("federation-upstream-set"), OLD, None),
        (policy("max-length", apply_to="streams"), OLD, "`apply-to` streams needs 3.12"),
        (policy("max-length", apply_to="streams"), NEW, None),
        (bound("dead-letter-exchange"), NEW, "`dead-letter-exchange` cannot be in an operator policy"),
        (bound("overflow"), OLD, "`overflow` needs 3.11"),
        (bound("overflow"), NEW, None),
        (
            Vhost(name="v", default_queue_type="quorum"),
            OLD,
            "of a vhost that is there can be changed from 3.12 on",
        ),
        (Vhost(name="v", default_queue_type="quorum"), NEW, None),
        (Vhost(name="v", default_queue_type="classic"), OLD, None),
        (Vhost(name="new", default_queue_type="quorum"), OLD, None),
        (Vhost(name="new", default_queue_type="quorum"), (3, 9, 0), "`default_queue_type` needs 3.10"),
        (Queue(vhost="w", name="q", type="classic"), NEW, "there is no vhost w"),
    ],
)
def test_what_a_release_cannot_hold_is_refused(
    wanted: Resource, version: tuple[int, ...], message: str | None
) -> None:
    desired, seen = state([wanted]), Observation(resources=state([MADE]), version=version)
    if message is None:
        refuse_unfit(desired, seen)
        return
    with pytest.raises(errors.Unsupported) as caught:
        refuse_unfit(desired, seen)
    assert message in caught.value.message
    assert caught.value.message.endswith("nothing was changed")


def test_what_is_there_already_is_never_refused() -> None:
    there = bound("dead-letter-exchange")
    refuse_unfit(state([VHOST, there]), Observation(resources=state([MADE, there]), version=NEW))


def test_a_tag_that_would_be_kept_as_another_one_is_refused_unless_it_is_there() -> None:
    for wanted in (User(name="u", tags=("ok", "é")), Vhost(name="v", tags=(" blank",))):
        seen = Observation(resources=state([MADE]), version=NEW)
        with pytest.raises(errors.Unsupported, match=r"it would keep the tag `(é| blank)` as another one"):
            refuse_unfit(state([wanted]), seen)
    there = User(name="u", tags=("é",))
    seen = Observation(resources=state([MADE, there]), version=NEW)
    refuse_unfit(state([replace(there, tags=("é", "more"))]), seen)


def test_all_that_cannot_be_is_told_at_once() -> None:
    seen = Observation(resources=state([MADE]), version=OLD)
    with pytest.raises(errors.Unsupported, match=r"consumer-timeout.*; .*dead-letter-exchange"):
        refuse_unfit(state([policy("consumer-timeout"), bound("dead-letter-exchange")]), seen)


def test_a_queue_that_names_no_type_keeps_its_own_or_gets_its_vhosts() -> None:
    there = Queue(vhost="v", name="there", type="stream")
    untyped = [Queue(vhost=v, name=n, type="") for v, n in (("v", "there"), ("v", "new"), ("w", "new"))]
    asked = state([VHOST, Vhost(name="w", default_queue_type="quorum"), *untyped])
    seen = Observation(resources=state([MADE, there]), version=OLD)
    assert [queue.type for queue in settled(asked, seen).queues] == ["stream", "classic", "quorum"]


def test_a_policy_that_matches_nothing_is_noted_and_no_other() -> None:
    queue = Queue(vhost="v", name="mail", type="quorum")
    exchange = Exchange(vhost="v", name="tasks", type="topic")
    cases = {
        ("^mail$", "queues"): True,
        ("^mail$", "quorum_queues"): True,
        ("^mail$", "classic_queues"): False,
        ("^mail$", "exchanges"): False,
        ("^tasks$", "all"): True,
        ("^tasks$", "queues"): False,
        ("(?|a|b)", "queues"): True,
    }
    for (pattern, apply_to), matches in cases.items():
        wanted = Policy(vhost="v", name="p", pattern=pattern, apply_to=apply_to)
        told = notes(state([VHOST, wanted, queue]), state([MADE, exchange]))
        assert (told == ()) is matches, (pattern, apply_to)
    assert notes(state([policy("max-length")]), ()) == (
        "policy p in vhost v matches nothing that lasts: no queue matches `^q`",
    )
