from collections.abc import Sequence
from dataclasses import replace

import pytest

from provisioning.broker.objects import (
    Binding,
    Exchange,
    Permission,
    Queue,
    TopicPermission,
    User,
    Vhost,
)
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.resource import Arguments
from provisioning.broker.state import refuse_protected
from provisioning.errors import ProtectedObject
from provisioning.plan import Action, Resource, plan
from tests.broker_model import state, stored

VHOST = Vhost(name="v")
TASKS = Exchange(vhost="v", name="tasks", type="topic")
QUEUE = Queue(vhost="v", name="q", type="quorum")
BINDING = Binding(vhost="v", source="tasks", destination="q", routing_key="q")
USER = User(name="u", tags=("ours",), password=Password("right"))


def summary(desired: Sequence[Resource], actual: Sequence[Resource], *, prune: bool = False) -> list[str]:
    planned = plan(state(desired, mark="ours", keep=("celery",)), map(stored, actual), prune=prune)
    return [f"{c.action} {c.resource.KIND}" + (" implied" if c.implied_by else "") for c in planned.changes]


def test_another_password_is_a_difference_that_shows_neither() -> None:
    actual = stored(replace(USER, password=Password("wrong")))
    (change,) = plan(state([USER]), [actual]).changes
    (field,) = change.fields
    assert (field.name, field.secret, field.before, field.after) == ("password", True, None, None)


def test_the_same_password_under_another_salt_is_no_difference() -> None:
    actual = replace(USER, password=Password("right").hashed(salt=b"abcd"))
    assert plan(state([USER]), [actual]).changes == ()


def test_a_user_whose_password_is_not_declared_keeps_it() -> None:
    actual = replace(USER, password=PasswordHash(salted="AAAA"))
    assert plan(state([replace(USER, password=None)]), [actual]).changes == ()


def test_an_immutable_field_means_replace() -> None:
    assert summary([VHOST, replace(QUEUE, type="stream")], [VHOST, QUEUE]) == ["replace queue"]


def test_numbers_and_booleans_are_different_arguments() -> None:
    one, other = (replace(QUEUE, arguments=Arguments({"x": value})) for value in (1, True))
    assert summary([VHOST, one], [VHOST, other]) == ["replace queue"]


def test_a_replaced_queue_gets_its_bindings_back_in_the_same_plan() -> None:
    desired = [VHOST, TASKS, replace(QUEUE, type="classic"), BINDING]
    assert summary(desired, [VHOST, TASKS, QUEUE, BINDING]) == ["replace queue", "create binding implied"]


def test_an_undeclared_binding_that_a_replaced_queue_takes_along_is_shown() -> None:
    foreign = replace(BINDING, routing_key="other")
    desired = [VHOST, TASKS, replace(QUEUE, type="classic")]
    assert summary(desired, [VHOST, TASKS, QUEUE, foreign]) == ["replace queue", "delete binding implied"]


def test_deleting_a_user_takes_its_permissions_along() -> None:
    rows: list[Resource] = [
        Permission(vhost="v", user="u", configure="", write="", read=""),
        TopicPermission(vhost="v", user="u", exchange="tasks", write="", read=""),
    ]
    assert summary([VHOST], [VHOST, USER, *rows], prune=True) == [
        "delete permission implied",
        "delete topic permission implied",
        "delete user",
    ]


def test_undeclared_objects_are_named_and_left_alone() -> None:
    planned = plan(state([VHOST]), [VHOST, QUEUE])
    assert (planned.changes, planned.undeclared) == ((), (QUEUE,))


def test_users_are_kept_by_their_names_with_their_rights() -> None:
    kept = [
        User(name="svc-x", tags=("ours",)),
        Permission(vhost="v", user="svc-x", configure="", write="", read=""),
        TopicPermission(vhost="v", user="svc-x", exchange="e", write="", read=""),
    ]
    others = [
        User(name="x", tags=("ours",)),
        Permission(vhost="v", user="x", configure="", write="", read=""),
    ]
    planned = plan(state([VHOST], mark="ours", keep=("^svc-",)), [VHOST, *kept, *others], prune=True)
    assert {change.identity for change in planned.changes} == {resource.identity for resource in others}


@pytest.mark.parametrize(
    "foreign",
    [
        Queue(vhost="elsewhere", name="q", type="quorum"),
        Queue(vhost="/", name="q", type="quorum"),
        Queue(vhost="v", name="amq.gen-1", type="classic"),
        Queue(vhost="v", name="w-a@alpha.celery.pidbox", type="classic"),
        Queue(vhost="v", name="passing", type="classic", auto_delete=True),
        Queue(vhost="v", name="passing", type="classic", durable=False),
        Exchange(vhost="v", name="reply.celery.pidbox", type="direct"),
        Binding(vhost="v", source="", destination="q", routing_key="q"),
        Binding(vhost="v", source="celeryev", destination="q", routing_key="q"),
        User(name="guest", tags=("ours",)),
        User(name="root", tags=("administrator",)),
        Permission(vhost="v", user="guest", configure="", write="", read=""),
        Vhost(name="elsewhere"),
    ],
    ids=lambda resource: resource.label,
)
def test_what_is_not_ours_is_never_pruned(foreign: Resource) -> None:
    planned = plan(state([VHOST], mark="ours", keep=("celery",)), [VHOST, foreign], prune=True)
    assert planned.changes == ()


@pytest.mark.parametrize(
    "protected",
    [
        Vhost(name="/"),
        Queue(vhost="/", name="q", type="quorum"),
        User(name="guest"),
        Exchange(vhost="v", name="amq.topic", type="topic"),
    ],
    ids=lambda resource: resource.label,
)
def test_a_desired_state_may_not_name_what_is_never_ours(protected: Resource) -> None:
    with pytest.raises(ProtectedObject):
        refuse_protected(state([protected]))


def test_a_permission_of_the_default_user_in_a_declared_vhost_may_be_declared() -> None:
    row = Permission(vhost="v", user="guest", configure=".*", write=".*", read=".*")
    refuse_protected(state([VHOST, row]))
    assert summary([VHOST, row], [VHOST]) == ["create permission"]


def test_a_topic_permission_comes_before_the_permission_that_it_restricts() -> None:
    row = Permission(vhost="v", user="u", configure="", write=".*", read="")
    limit = TopicPermission(vhost="v", user="u", exchange="tasks", write="^a$", read="")
    assert summary([VHOST, USER, row, limit], [VHOST]) == [
        "create user",
        "create topic permission",
        "create permission",
    ]


def test_the_fingerprint_covers_what_matters_here_and_nothing_else() -> None:
    desired = state([VHOST, USER], mark="ours")
    base = plan(desired, [VHOST, stored(USER)]).fingerprint
    elsewhere = Queue(vhost="elsewhere", name="q", type="quorum")
    assert plan(desired, [VHOST, stored(USER), elsewhere]).fingerprint == base
    rehashed = replace(USER, password=Password("right").hashed(salt=b"abcd"))
    assert plan(desired, [VHOST, rehashed]).fingerprint != base
    assert plan(desired, [VHOST, stored(USER), QUEUE]).fingerprint != base


def test_an_undeclared_object_on_which_a_declared_one_stands_stays() -> None:
    row = Permission(vhost="v", user="u", configure="", write="", read="")
    planned = plan(state([VHOST, row], mark="ours"), [VHOST, stored(USER), row], prune=True)
    assert planned.of(Action.DELETE) == ()
