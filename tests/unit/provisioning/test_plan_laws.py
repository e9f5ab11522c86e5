"""What holds for every pair of states."""

import json
import random

from hypothesis import given

from provisioning import render
from provisioning.apply import apply
from provisioning.broker.definitions import parse
from provisioning.broker.document import state_document
from provisioning.broker.objects import Queue
from provisioning.broker.policies import settings
from provisioning.broker.state import State
from provisioning.plan import Action, plan
from tests.broker_model import ModelDoor, state, stored
from tests.unit.provisioning.states import PASSWORDS, states


@given(states())
def test_a_state_that_is_as_desired_needs_no_change(desired: State) -> None:
    assert plan(desired, map(stored, desired), prune=True).changes == ()


@given(states(), states())
def test_applying_a_plan_with_prune_leads_to_the_desired_state(desired: State, actual: State) -> None:
    door = ModelDoor(actual)
    report = apply(plan(desired, door.observe().resources, prune=True), door, allow_destructive=True)
    assert report.converged
    shared = {parameter.identity for parameter in actual.global_parameters}
    components = {parameter.component for parameter in desired.parameters}
    foreign = {p.identity for p in actual.parameters if p.component not in components}
    assert set(door.objects) == {resource.identity for resource in desired} | shared | foreign


@given(states(), states())
def test_without_prune_nothing_undeclared_is_deleted_but_what_goes_with_a_replaced_object(
    desired: State, actual: State
) -> None:
    planned = plan(desired, map(stored, actual))
    assert all(change.implied_by for change in planned.of(Action.DELETE))
    door = ModelDoor(actual)
    assert apply(planned, door, allow_destructive=True).converged


@given(states(), states())
def test_the_order_of_what_is_given_does_not_matter(desired: State, actual: State) -> None:
    shuffled = [stored(resource) for resource in actual]
    random.Random(1).shuffle(shuffled)
    turned = state(reversed(tuple(desired)), mark=desired.mark)
    one, other = plan(desired, map(stored, actual), prune=True), plan(turned, shuffled, prune=True)
    assert (one.changes, one.fingerprint) == (other.changes, other.fingerprint)


@given(states(), states())
def test_objects_are_made_before_what_stands_on_them_and_deleted_after_it(
    desired: State, actual: State
) -> None:
    changes = plan(desired, map(stored, actual), prune=True).changes
    made = [c.resource.RANK for c in changes if c.action is not Action.DELETE]
    deleted = [c.resource.RANK for c in changes if c.action is Action.DELETE]
    assert made == sorted(made)
    assert deleted == sorted(deleted, reverse=True)
    assert [c.action is Action.DELETE for c in changes] == [False] * len(made) + [True] * len(deleted)


@given(states(), states())
def test_no_password_and_no_hash_appears_in_what_is_shown(desired: State, actual: State) -> None:
    planned = plan(desired, map(stored, actual), prune=True)
    shown = render.text(planned) + json.dumps(render.record(planned)) + repr(planned)
    hashes = [user["password_hash"] for user in state_document(state(map(stored, actual))).get("users", [])]
    assert not [secret for secret in (*PASSWORDS, *map(str, hashes)) if secret in shown]


@given(states())
def test_definitions_say_all_there_is_to_a_state(actual: State) -> None:
    kept = state(map(stored, actual))
    again = parse(json.loads(json.dumps(state_document(kept))))
    assert set(map(stored, again)) == set(kept)


def length(queue: Queue, held: State) -> set[float]:
    """Return beyond how many messages ``queue`` may drop some, by the policies of ``held``."""
    found = settings(queue, (*held.policies, *held.operator_policies))
    kept = [s for s in found if not str(s.get("overflow", "")).startswith("reject-publish")]
    refusing = {float("inf")} if len(kept) < len(found) else set()
    return {float(str(s.get("max-length", "inf"))) for s in kept} | refusing


@given(states(), states())
def test_a_queue_that_ends_with_a_lower_limit_has_a_policy_that_is_told_to_lose(
    desired: State, actual: State
) -> None:
    planned = plan(desired, map(stored, actual), prune=True)
    told = any(identity[0].endswith("policy") for identity in planned.losses)
    destroyed = {change.identity for change in planned.changes if change.destroys}
    for queue in actual.queues:
        if queue.identity not in destroyed:
            assert told or min(length(queue, desired)) >= min(length(queue, actual))
