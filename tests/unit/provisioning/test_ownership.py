from dataclasses import replace

import pytest

from provisioning.broker.objects import OperatorPolicy, Permission, Policy, User, Vhost
from provisioning.broker.parameters import Json, Parameter
from provisioning.broker.passwords import Password
from provisioning.broker.state import State, refuse_foreign
from provisioning.errors import ProtectedObject
from provisioning.plan import Resource

OURS = State(
    vhosts=(Vhost(name="v"),),
    users=(User(name="celery", tags=("fleet:v",), password=Password("p")),),
    mark="fleet:v",
)


def user(*tags: str) -> User:
    return User(name="celery", tags=tags, password=Password("theirs"))


def right(vhost: str) -> Permission:
    return Permission(vhost=vhost, user="celery", configure="", write="", read="")


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [user("fleet:v"), right("v"), right("shop")],
        [user("administrator"), right("v")],
        [user()],
        [User(name="other", tags=("administrator",)), right("v")],
    ],
)
def test_a_user_is_taken_over_when_only_this_fleet_uses_it(seen: list[Resource]) -> None:
    refuse_foreign(OURS, seen)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([user("management"), right("shop")], "vhost shop"),
        ([user("fleet:shop"), right("shop"), right("v")], "vhost shop"),
        ([user("monitoring")], "tags monitoring"),
    ],
)
def test_a_user_of_somebody_else_is_refused_with_the_reason(seen: list[Resource], reason: str) -> None:
    with pytest.raises(ProtectedObject, match=reason):
        refuse_foreign(OURS, seen)


@pytest.mark.parametrize("kind", [Policy, OperatorPolicy])
def test_a_policy_of_either_kind_is_ours_by_its_name_only(kind: type[Policy] | type[OperatorPolicy]) -> None:
    desired = replace(OURS, policy_prefix="fleet.")
    owned = [desired.owns(kind(vhost="v", name=name, pattern=".")) for name in ("fleet.q", "theirs")]
    assert owned == [True, False]


def test_a_parameter_is_ours_only_beside_a_declared_one_of_its_component_and_vhost() -> None:
    shovel = Parameter(vhost="v", component="shovel", name="s", value=Json({}))
    upstream = replace(shovel, component="federation-upstream")
    assert not OURS.owns(shovel)
    declaring = replace(OURS, vhosts=(*OURS.vhosts, Vhost(name="w")), parameters=(shovel,))
    owned = [declaring.owns(p) for p in (replace(shovel, name="t"), upstream, replace(shovel, vhost="w"))]
    assert owned == [True, False, False]
