from collections.abc import Sequence
from dataclasses import replace

import pytest

from provisioning import errors, render
from provisioning.apply import apply
from provisioning.broker.objects import Binding, Exchange, Queue, User, Vhost
from provisioning.broker.passwords import Password
from provisioning.plan import Change, Contents, Plan, Resource, plan
from tests.broker_model import ModelDoor, state

VHOST = Vhost(name="v")
TASKS = Exchange(vhost="v", name="tasks", type="topic")
QUEUE = Queue(vhost="v", name="q", type="quorum")
OTHER = Queue(vhost="v", name="r", type="quorum")
BINDING = Binding(vhost="v", source="tasks", destination="q", routing_key="q")


def planned(desired: Sequence[Resource], door: ModelDoor, *, prune: bool = False) -> Plan:
    return plan(state(desired), door.observe().resources, prune=prune)


def test_a_plan_without_changes_makes_no_request() -> None:
    door = ModelDoor([VHOST])
    report = apply(planned([VHOST], door), door)
    assert (report.converged, report.done, door.requests) == (True, (), [])


def test_a_replace_is_refused_without_its_flag_and_nothing_is_changed() -> None:
    door = ModelDoor([VHOST, QUEUE])
    with pytest.raises(
        errors.DestructionRefused, match=r"replace queue q in vhost v: what it holds"
    ) as caught:
        apply(planned([VHOST, TASKS, replace(QUEUE, type="stream")], door), door)
    assert "--allow-destructive" in str(caught.value.hint)
    assert door.requests == []


@pytest.mark.parametrize("held", [Contents(messages=3, consumers=0), Contents(messages=0, consumers=1)])
def test_a_queue_that_is_in_use_is_never_deleted(held: Contents) -> None:
    door = ModelDoor([VHOST, QUEUE])
    door.held[QUEUE.identity] = held
    with pytest.raises(errors.QueueInUse, match=f"holds {held.messages} messages"):
        apply(planned([VHOST], door, prune=True), door, allow_destructive=True)
    assert door.requests == []


def test_a_queue_that_only_looks_empty_is_found_out_by_the_second_reading() -> None:
    door = ModelDoor([VHOST, QUEUE])
    door.staleness_seconds = 7.0
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        door.held[QUEUE.identity] = Contents(messages=1, consumers=0)

    with pytest.raises(errors.QueueInUse):
        apply(planned([VHOST], door, prune=True), door, allow_destructive=True, pause=pause)
    assert waited == [7.0]


UNKNOWN = Contents(messages=None, consumers=None)


@pytest.mark.parametrize("held", [UNKNOWN, Contents(messages=0, consumers=None)])
def test_a_queue_of_which_nothing_is_known_is_looked_at_again_and_never_deleted(held: Contents) -> None:
    door = ModelDoor([VHOST, QUEUE])
    door.staleness_seconds = 7.0
    door.held[QUEUE.identity] = held
    waited: list[float] = []
    with pytest.raises(errors.QueueInUse, match="queue q in vhost v: how much it holds is not known"):
        apply(planned([VHOST], door, prune=True), door, allow_destructive=True, pause=waited.append)
    assert (waited, door.requests) == ([7.0], [])


def test_a_new_queue_whose_counts_come_with_the_second_reading_is_deleted() -> None:
    door = ModelDoor([VHOST, QUEUE])
    door.held[QUEUE.identity] = UNKNOWN
    made = planned([VHOST], door, prune=True)
    assert apply(made, door, allow_destructive=True, pause=lambda _: door.held.clear()).converged
    assert QUEUE.identity not in door.objects


def test_a_queue_that_is_gone_between_the_readings_is_a_world_that_moved() -> None:
    door = ModelDoor([VHOST, QUEUE])
    made = planned([VHOST], door, prune=True)

    def expire(_seconds: float) -> None:
        door.held[QUEUE.identity] = UNKNOWN
        del door.objects[QUEUE.identity]

    with pytest.raises(errors.WorldMoved, match="queue q in vhost v is gone"):
        apply(made, door, allow_destructive=True, pause=expire)
    assert door.requests == []


def test_a_plan_for_a_world_that_moved_is_refused() -> None:
    door = ModelDoor([VHOST])
    made = planned([VHOST, QUEUE], door)
    door.objects[QUEUE.identity] = replace(QUEUE, type="classic")
    with pytest.raises(errors.WorldMoved):
        apply(made, door)
    assert door.requests == []


def test_a_change_that_the_door_cannot_make_is_refused_before_all_others() -> None:
    class NoQueues(ModelDoor):
        def refusal(self, change: Change) -> str | None:
            return "no queues here" if isinstance(change.resource, Queue) else None

    door = NoQueues([VHOST])
    with pytest.raises(errors.Unsupported, match=r"cannot create queue q in vhost v: no queues here"):
        apply(planned([VHOST, TASKS, QUEUE], door), door)
    assert door.requests == []


def test_a_failure_stops_the_rest_and_the_report_tells_them_apart() -> None:
    door = ModelDoor([VHOST], broken=frozenset({OTHER.identity}))
    report = apply(planned([VHOST, TASKS, QUEUE, OTHER, BINDING], door), door)
    told = {
        "done": [change.identity for change in report.done],
        "failed": [change.identity for change in report.failed],
        "skipped": [change.identity for change in report.skipped],
    }
    assert told == {
        "done": [TASKS.identity, QUEUE.identity],
        "failed": [OTHER.identity],
        "skipped": [BINDING.identity],
    }
    assert not report.converged
    assert "is broken" in str(report.error)


def test_a_broker_that_takes_a_change_and_forgets_it_is_not_converged() -> None:
    class Forgetful(ModelDoor):
        def perform(self, batch: Sequence[Change]) -> None:
            pass

    door = Forgetful([VHOST])
    report = apply(planned([VHOST, QUEUE], door), door)
    assert report.left is not None
    assert [change.identity for change in report.left] == [QUEUE.identity]


def test_a_broker_that_is_gone_afterwards_is_unknown_not_converged() -> None:
    class Dying(ModelDoor):
        def perform(self, batch: Sequence[Change]) -> None:
            self.observe = self.gone  # type: ignore[method-assign, assignment]
            raise errors.Unreachable("gone")

        def gone(self) -> None:
            raise errors.Unreachable("gone")

    door = Dying([VHOST])
    report = apply(planned([VHOST, QUEUE], door), door)
    assert (report.left, report.converged, len(report.failed)) == (None, False, 1)
    assert not report.untouched


def test_only_a_failure_that_left_everything_as_it_was_changed_nothing_for_certain() -> None:
    class HalfWay(ModelDoor):
        """Deletes what it cannot create again."""

        def perform(self, batch: Sequence[Change]) -> None:
            del self.objects[batch[0].identity]
            raise errors.ChangeRefused("enough")

    wanted = [VHOST, replace(QUEUE, type="stream")]
    untouched, half = ModelDoor([VHOST, QUEUE], broken=frozenset({QUEUE.identity})), HalfWay([VHOST, QUEUE])
    for door in (untouched, half):
        report = apply(planned(wanted, door), door, allow_destructive=True)
        assert (report.done, report.converged, report.untouched) == ((), False, door is untouched)
        assert ("no changes" in render.outcome(report, seconds=1)) == report.untouched


def test_a_user_is_stored_with_the_declared_password() -> None:
    door = ModelDoor()
    user = User(name="u", password=Password("right"))
    assert apply(planned([user], door), door).converged
    stored = door.objects[user.identity]
    assert isinstance(stored, User)
    assert not user.password_differs(stored)
