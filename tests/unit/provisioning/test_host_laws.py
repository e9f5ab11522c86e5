"""What holds for every pair of states of a host."""

import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings

from provisioning.hosts import render
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.objects import KINDS, File, HostObject, Placed, Tree
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.state import HostState
from provisioning.plan import Action, Identity
from tests.local_runner import QUICK_DISK, InThisProcess, listing
from tests.unit.provisioning.host_states import SECRET, host_states, placed_states

quick = settings(max_examples=25, deadline=None)
OPERATOR = Operator(name="tester", origin="control")


def seen(objects: dict[Identity, HostObject]) -> HostObservation:
    """Return what would be said of a host that has ``objects``."""
    found = tuple(as_seen(thing) for thing in objects.values())
    return HostObservation(host="h1", objects=found, blocked={}, fingerprint="f", free_bytes={})


def as_seen(thing: HostObject) -> HostObject:
    """Return an object as it is seen: contents stay where they are."""
    if isinstance(thing, File):
        return replace(thing, content=None, ours=True)
    return replace(thing, archive=None, ours=True) if isinstance(thing, Tree) else thing


def carried_out(planned: HostPlan, objects: dict[Identity, HostObject]) -> dict[Identity, HostObject]:
    """Return what a host has after the changes."""
    left = dict(objects)
    for change in planned.changes:
        if change.action is Action.DELETE:
            del left[change.identity]
        else:
            assert isinstance(change.after, HostObject)
            left[change.identity] = change.after
    return left


def by_identity(state: HostState) -> dict[Identity, HostObject]:
    return {thing.identity: thing for thing in state}


@quick
@given(host_states(), host_states())
def test_a_carried_out_plan_leaves_nothing_to_plan(before: HostState, desired: HostState) -> None:
    objects = by_identity(before)
    after = carried_out(plan(desired, seen(objects)), objects)
    assert plan(desired, seen(after)).changes == ()


@quick
@given(host_states(), host_states())
def test_a_plan_does_not_depend_on_the_order_of_what_is_given(before: HostState, desired: HostState) -> None:
    shuffled = list(desired)
    random.Random(1).shuffle(shuffled)
    turned = dict(reversed(by_identity(before).items()))
    one, other = plan(desired, seen(by_identity(before))), plan(HostState(shuffled), seen(turned))
    assert render.text(one, with_diff=True) == render.text(other, with_diff=True)
    assert (one.changes, one.plan.fingerprint) == (other.changes, other.plan.fingerprint)


@quick
@given(host_states(), host_states())
def test_users_come_before_directories_before_files_before_units(
    before: HostState, desired: HostState
) -> None:
    changes = plan(desired, seen(by_identity(before))).changes
    made = [KINDS.index(change.resource.KIND) for change in changes if change.action is not Action.DELETE]
    deleted = [KINDS.index(change.resource.KIND) for change in changes if change.action is Action.DELETE]
    assert made == sorted(made)
    assert deleted == sorted(deleted, reverse=True)
    assert [c.action for c in changes] == sorted((c.action for c in changes), key=Action.DELETE.__eq__)
    places = {change.identity: number for number, change in enumerate(changes)}
    for change in changes:
        if change.action is not Action.DELETE and isinstance(change.after, Placed):
            above = ("path", change.after.path.rpartition("/")[0])
            assert places.get(above, -1) < places[change.identity]


@quick
@given(host_states(), host_states())
def test_no_secret_and_no_digest_of_one_is_shown(before: HostState, desired: HostState) -> None:
    planned = plan(desired, seen(by_identity(before)))
    shown = render.text(planned, with_diff=True) + json.dumps(render.record(planned, with_diff=True))
    shown += repr(planned)
    for thing in (*before, *desired):
        if isinstance(thing, File) and thing.secret and thing.content:
            assert SECRET.decode() not in shown
            open_digests = {t.digest for t in (*before, *desired) if isinstance(t, File) and not t.secret}
            assert thing.digest in open_digests or thing.digest[:12] not in shown


@settings(max_examples=20, deadline=None)
@given(placed_states(), placed_states())
def test_the_agent_turns_any_state_into_any_other(before: HostState, desired: HostState) -> None:
    with tempfile.TemporaryDirectory(dir=QUICK_DISK) as root:
        door = HostDoor(InThisProcess(), root=root)
        for state in (before, desired):
            report = apply(plan(state, door.observe(state)), door, by=OPERATOR)
            assert report.error is None
            assert report.left == ()
        assert set(listing(Path(root))) >= {thing.path[1:] for thing in desired if isinstance(thing, Placed)}
        in_trees = {thing.path[1:] for thing in desired if isinstance(thing, Tree)}
        declared = {thing.path[1:] for thing in desired if isinstance(thing, Placed)}
        foreign = {path for path in listing(Path(root)) if path not in declared}
        assert all(any(path.startswith(f"{tree}/") for tree in in_trees) for path in foreign)
        told = Path(root, "var/log/fleet/audit.jsonl").read_text() if door.audit() else ""
        assert SECRET.decode() not in told
