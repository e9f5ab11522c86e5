"""Which changes lose data or access, and whom they would lock out."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from provisioning import errors
from provisioning.apply import apply, plan_against
from provisioning.broker.losses import locks_out
from provisioning.broker.management import ManagementDoor
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
from provisioning.broker.parameters import Json, Parameter
from provisioning.broker.passwords import Password
from provisioning.broker.resource import Arguments
from provisioning.plan import Connection, Plan, Resource, plan
from tests.broker_model import ModelDoor, state, stored

VHOST = Vhost(name="v")
TASKS = Exchange(vhost="v", name="tasks", type="topic")
QUEUE = Queue(vhost="v", name="q", type="quorum")
BINDING = Binding(vhost="v", source="tasks", destination="q", routing_key="q")
USER = User(name="u", tags=("ours",), password=Password("right"))
RIGHT = Permission(vhost="v", user="u", configure="^$", write="^(tasks|more)$", read="^q$")
LIMIT = TopicPermission(vhost="v", user="u", exchange="tasks", write="^a$", read="^$")
POLICY = Policy(vhost="v", name="p", pattern="^q$")
LONG = replace(POLICY, definition=Arguments({"max-length": 9}))
BOUND = OperatorPolicy(vhost="v", name="o", pattern="^q$", definition=Arguments({"max-length": 9}))
SHOVEL = Parameter(vhost="v", component="shovel", name="s", value=Json({"src-queue": "q"}))
EVERYTHING = (VHOST, USER, LIMIT, RIGHT, POLICY, TASKS, QUEUE, BINDING)


def planned(wanted: Sequence[Resource], seen: Sequence[Resource]) -> Plan:
    return plan(state(wanted, mark="ours"), map(stored, seen), prune=True)


def without(*gone: Resource) -> list[Resource]:
    return [resource for resource in EVERYTHING if resource not in gone]


@pytest.mark.parametrize(
    ("wanted", "seen", "losses"),
    [
        (EVERYTHING, [], {}),
        (EVERYTHING, [VHOST, USER], {}),
        (without(POLICY), EVERYTHING, {}),
        (without(LIMIT), EVERYTHING, {}),
        (without(BINDING), EVERYTHING, {BINDING: "data"}),
        (without(QUEUE, BINDING), EVERYTHING, {QUEUE: "data"}),
        (without(USER, RIGHT, LIMIT), EVERYTHING, {USER: "access"}),
        (without(RIGHT), EVERYTHING, {RIGHT: "access"}),
        (
            [*EVERYTHING, SHOVEL],
            [*EVERYTHING, SHOVEL, replace(SHOVEL, name="t")],
            {replace(SHOVEL, name="t"): "data"},
        ),
        # A limit takes something away from a user who had none; on a new exchange it does not.
        (EVERYTHING, without(LIMIT), {LIMIT: "access"}),
        (EVERYTHING, without(LIMIT, TASKS, BINDING), {}),
        (EVERYTHING, without(LIMIT, RIGHT), {}),
    ],
)
def test_what_a_plan_loses_is_told(
    wanted: Sequence[Resource], seen: Sequence[Resource], losses: dict[Resource, str]
) -> None:
    found = planned(wanted, seen).losses
    assert {i: str(loss.what) for i, loss in found.items()} == {r.identity: t for r, t in losses.items()}


@pytest.mark.parametrize(
    ("before", "after", "loss"),
    [
        (QUEUE, replace(QUEUE, type="classic"), "what it holds is lost"),
        (USER, replace(USER, tags=("ours", "management")), None),
        (replace(USER, tags=("ours", "management")), USER, "it loses the tag management"),
        (USER, replace(USER, password=Password("new")), None),
        (RIGHT, replace(RIGHT, write="^tasks$"), "user u may lose rights (write)"),
        (RIGHT, replace(RIGHT, write="^(tasks|more|most)$"), None),
        (LIMIT, replace(LIMIT, write="^(a|b)$"), None),
        (LONG, replace(LONG, definition=Arguments({"max-length": 10})), None),
        (LONG, replace(LONG, definition=Arguments({"max-length": 8, "overflow": "reject-publish"})), None),
        (LONG, replace(LONG, pattern="^other$", definition=Arguments({"max-length": 8})), None),
        (
            LONG,
            replace(LONG, definition=Arguments({"max-length": 8})),
            "messages or queues beyond max-length are dropped (queue q)",
        ),
        (
            POLICY,
            replace(POLICY, definition=Arguments({"expires": 8})),
            "messages or queues beyond expires are dropped (queue q)",
        ),
        (
            BOUND,
            replace(BOUND, definition=Arguments({"max-length": 8})),
            "messages or queues beyond max-length are dropped (queue q)",
        ),
        (BOUND, replace(BOUND, definition=Arguments({"max-length": 10})), None),
        (LIMIT, replace(LIMIT, write="^b$"), "user u may lose rights (write)"),
    ],
)
def test_a_change_that_takes_something_away_says_what(
    before: Resource, after: Resource, loss: str | None
) -> None:
    rest = [r for r in EVERYTHING if r.identity != before.identity]
    found = planned([*rest, after], [*rest, before]).losses.get(after.identity)
    assert (found.reason if found else None) == loss


DEAD = {"dead-letter-exchange": "dead"}
HIGH = replace(POLICY, name="high", priority=9)
FULL = {"max-length": 9, "overflow": "reject-publish"}


def defined(policy: Policy, **definition: object) -> Policy:
    return replace(policy, definition=Arguments({k.replace("_", "-"): v for k, v in definition.items()}))


LOW = defined(POLICY, max_length=5)
CALM = defined(HIGH, max_length=50)


@pytest.mark.parametrize(
    ("before", "after", "loss"),
    [
        pytest.param(
            [defined(POLICY, **FULL)],
            [defined(POLICY, **FULL | {"overflow": "drop-head"})],
            ("p", "messages or queues beyond max-length are dropped (queue q)"),
            id="a full queue no longer refuses",
        ),
        pytest.param(
            [defined(POLICY, overflow="reject-publish")],
            [defined(POLICY, overflow="drop-head")],
            None,
            id="a queue without a length is never full",
        ),
        pytest.param(
            [replace(LONG, pattern="^other$")],
            [LONG],
            ("p", "messages or queues beyond max-length are dropped (queue q)"),
            id="another pattern reaches a queue",
        ),
        pytest.param(
            [replace(LONG, apply_to="exchanges")],
            [replace(LONG, apply_to="all")],
            ("p", "messages or queues beyond max-length are dropped (queue q)"),
            id="it is for queues now",
        ),
        pytest.param(
            [LOW, replace(CALM, priority=1)],
            [replace(LOW, priority=2), replace(CALM, priority=1)],
            ("p", "messages or queues beyond max-length are dropped (queue q)"),
            id="another priority",
        ),
        pytest.param(
            [LOW, CALM],
            [LOW],
            ("high", "messages or queues beyond max-length are dropped (queue q)"),
            id="one is deleted that hid a stricter one",
        ),
        pytest.param([LOW, CALM], [CALM], None, id="one is deleted that was hidden"),
        pytest.param(
            [LOW, CALM, replace(CALM, name="mid", priority=5)],
            [LOW],
            ("high", "messages or queues beyond max-length are dropped (queue q)"),
            id="two are deleted that hid a stricter one",
        ),
        pytest.param([LOW, CALM], [LOW, replace(CALM, name="new")], None, id="one takes another's place"),
        pytest.param(
            [defined(POLICY, **DEAD)],
            [],
            ("p", "dead letters are dropped (queue q)"),
            id="dead letters had a way out",
        ),
        pytest.param(
            [defined(POLICY, **DEAD, delivery_limit=20)],
            [defined(POLICY, **DEAD, delivery_limit=2)],
            None,
            id="what is delivered too often goes to dead letters",
        ),
        pytest.param(
            [defined(POLICY, delivery_limit=20)],
            [defined(POLICY, delivery_limit=2)],
            ("p", "messages or queues beyond delivery-limit are dropped (queue q)"),
            id="what is delivered too often is dropped",
        ),
        pytest.param(
            [replace(LOW, pattern="^(?i)Q$"), CALM],
            [replace(LOW, pattern="^(?i)Q$")],
            ("high", "messages or queues beyond max-length are dropped (queue q)"),
            id="what is not understood may match",
        ),
        pytest.param([LONG], [LONG, BOUND], None, id="a bound that is no stricter"),
        pytest.param(
            [LONG],
            [LONG, replace(BOUND, definition=Arguments({"max-length": 3}))],
            ("o", "messages or queues beyond max-length are dropped (queue q)"),
            id="a stricter bound",
        ),
        pytest.param(
            [defined(POLICY, max_age="1D")],
            [defined(POLICY, max_age="23h")],
            ("p", "messages or queues beyond max-age are dropped (queue q)"),
            id="a shorter age",
        ),
        pytest.param(
            [defined(POLICY, max_age="7D")], [defined(POLICY, max_age="1M")], None, id="a longer age"
        ),
    ],
)
def test_a_change_of_policies_tells_what_a_queue_drops_that_it_kept(
    before: list[Resource], after: list[Resource], loss: tuple[str, str] | None
) -> None:
    found = planned([VHOST, QUEUE, *after], [VHOST, QUEUE, *before]).losses
    assert [(identity[-1], told.reason) for identity, told in found.items()] == ([loss] if loss else [])
    # A queue that is not there yet, or has what it drops from its own arguments, loses nothing.
    assert planned([VHOST, QUEUE, *after], [VHOST, *before]).losses == {}
    own = {"max-length": 1, "overflow": "drop-head", **DEAD}
    fixed = replace(QUEUE, arguments=Arguments({f"x-{name}": value for name, value in own.items()}))
    told = planned([VHOST, fixed, *after], [VHOST, fixed, *before]).losses.values()
    assert [lost for lost in told if "max-age" not in lost.reason] == []


def test_without_permission_to_destroy_every_loss_is_named_and_nothing_is_done() -> None:
    door = ModelDoor(EVERYTHING)
    made = plan(
        state(without(USER, RIGHT, LIMIT, QUEUE, BINDING), mark="ours"), door.objects.values(), prune=True
    )
    with pytest.raises(errors.DestructionRefused) as caught:
        apply(made, door)
    assert "delete user u: nobody can log in" in str(caught.value)
    assert "delete queue q in vhost v: what it holds is lost" in str(caught.value)
    assert door.requests == []


def client(user: str, vhost: str, name: str) -> Connection:
    return Connection(user=user, vhost=vhost, handle=name, client=name)


@pytest.mark.parametrize("close", [True, False])
def test_exactly_the_connections_whose_rights_shrank_are_ended(close: bool) -> None:  # noqa: FBT001 - a case
    door = ModelDoor(EVERYTHING)
    mine = [client("u", "v", "one"), client("u", "v", "two")]
    others = [client("u", "other", "three"), client("w", "v", "four")]
    door.clients = [*mine, *others]
    desired = state([*without(RIGHT), replace(RIGHT, write="^tasks$")], mark="ours")
    made = plan_against(desired, door.observe(), door)
    assert list(made.connections) == mine
    report = apply(made, door, allow_destructive=True, close_connections=close)
    assert report.converged
    assert (list(report.closed), list(report.holding)) == ((mine, []) if close else ([], mine))
    assert door.clients == (others if close else [*mine, *others])


def test_no_connection_is_looked_for_or_ended_when_no_right_shrinks() -> None:
    class NoLooking(ModelDoor):
        def connections(self, holders: object) -> Sequence[Connection]:
            raise AssertionError

    door = NoLooking([VHOST])
    made = plan_against(state(EVERYTHING, mark="ours"), door.observe(), door)
    assert apply(made, door, close_connections=True).converged


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ([], "u would be deleted"),
        ([replace(USER, tags=("ours",))], "u would lose the tag administrator"),
        ([replace(USER, tags=("ours", "administrator"), password=Password("new"))], "another password"),
    ],
)
def test_the_account_that_is_logged_in_is_never_locked_out(after: list[Resource], reason: str) -> None:
    seen = [VHOST, replace(USER, tags=("ours", "administrator"))]
    (change,) = planned([VHOST, *after], seen).changes
    assert reason in str(locks_out(change, "u"))
    assert locks_out(change, "somebody") is None
    door = ManagementDoor("http://127.0.0.1:1", user="u", password="right")
    assert reason in str(door.refusal(change))


def test_the_account_that_is_logged_in_keeps_its_rights() -> None:
    (gone,) = planned(without(RIGHT), EVERYTHING).changes
    (less,) = planned([*without(RIGHT), replace(RIGHT, read="^$")], EVERYTHING).changes
    (more,) = planned([*without(RIGHT), replace(RIGHT, read=".*")], EVERYTHING).changes
    assert [bool(locks_out(change, "u")) for change in (gone, less, more)] == [True, True, False]
