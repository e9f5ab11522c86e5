import pytest

from provisioning.broker.objects import Permission, User, Vhost
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
