"""What somebody else's limits and operator policies take from the fleet."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from provisioning.broker.objects import OperatorPolicy, User, Vhost
from provisioning.broker.resource import Arguments
from provisioning.broker.state import State
from tests.unit.doctor.sound import FILE, said, sound, with_state

QUEUES = len((sound().state or State()).queues)
PER_HOST = FILE.replace('password = "env:P"\n', 'password = "env:P"\nprofile = "per-host"\n', 1).replace(
    "[hosts.alpha]\n", '[hosts.alpha]\npassword = "env:H1"\n[hosts.beta]\npassword = "env:H2"\n'
)


def limited(**limits: int) -> Callable[[Iterable[Vhost]], list[Vhost]]:
    named = Arguments({name.replace("_", "-"): value for name, value in limits.items()})
    return lambda vhosts: [replace(vhost, limits=named) for vhost in vhosts]


def users(name: str, **limits: int) -> Callable[[Iterable[User]], list[User]]:
    named = Arguments({limit.replace("_", "-"): value for limit, value in limits.items()})
    return lambda there: [replace(user, limits=named) if user.name == name else user for user in there]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_queues": QUEUES - 1}, f"fail: vhost celery takes {QUEUES - 1} queues, and {QUEUES} are there"),
        ({"max_queues": QUEUES}, f"warn: vhost celery takes {QUEUES} queues, which leaves no room for the"),
        ({"max_queues": QUEUES + 2}, "ok: none stands in the way"),
        ({"max_queues": -1, "max_connections": -1}, "ok: none stands in the way"),
        ({"max_connections": 0}, "fail: vhost celery takes 0 connections, and each of 2 workers needs one"),
        ({"max_connections": 2}, "ok: none stands in the way"),
    ],
)
def test_a_vhost_that_takes_too_few_queues_or_connections_is_told(limits: dict[str, int], told: str) -> None:
    (said_now,) = said(with_state(sound(), vhosts=limited(**limits)), "limits")
    assert said_now.startswith(told)


def test_a_queue_that_is_there_already_counts() -> None:
    facts = with_state(
        sound(),
        vhosts=limited(max_queues=QUEUES + 1),
        queues=lambda there: [*there, replace(there[0], name="another")],
    )
    (told,) = said(facts, "limits")
    assert told.startswith(f"warn: vhost celery takes {QUEUES + 1} queues")


@pytest.mark.parametrize(
    ("user", "limits", "told"),
    [
        ("celery", {"max_connections": 0}, "fail: user celery may open 0 connections, and 2 workers need 2"),
        (
            "celery",
            {"max_channels": 0},
            "fail: user celery may open 0 channels, and 2 workers need 2 at least",
        ),
        ("eyes", {"max_connections": 0}, "fail: user eyes may open 0 connections, and it needs 1 at least"),
        ("eyes", {"max_connections": 1}, "ok: none stands in the way"),
    ],
)
def test_a_user_of_the_fleet_that_may_not_connect_is_told(
    user: str, limits: dict[str, int], told: str
) -> None:
    (said_now,) = said(with_state(sound(), users=users(user, **limits)), "limits")
    assert said_now.startswith(told)


def test_with_users_of_each_hosts_own_the_workers_of_one_host_count() -> None:
    facts = sound(PER_HOST)
    assert said(facts, "limits") == ["ok: none stands in the way of the fleet's own queues and connections"]
    (user,) = [u.name for u in (facts.state or State()).users if u.name.endswith("beta")][:1]
    (told,) = said(with_state(facts, users=users(user, max_connections=0)), "limits")
    assert told.startswith(f"fail: user {user} may open 0 connections, and 2 workers need 2 at least")


def policy(*, pattern: str = "^fleet[.]email$", vhost: str = "celery", **keys: int) -> OperatorPolicy:
    definition = Arguments({key.replace("_", "-"): value for key, value in keys.items()})
    return OperatorPolicy(
        vhost=vhost, name="o", pattern=pattern, apply_to="queues", definition=definition, priority=1
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            policy(message_ttl=1000),
            "fail: operator policy o sets message-ttl 1000 for fleet.email: what waits",
        ),
        (policy(expires=9), "fail: operator policy o sets expires 9 for fleet.email: the broker deletes"),
        (policy(max_length=5), "warn: operator policy o sets max-length 5 for fleet.email: it holds no more"),
        (
            policy(delivery_limit=2),
            "warn: operator policy o sets delivery-limit 2 for fleet.email: a message",
        ),
        # The fleet's own is 20, and the smaller value holds.
        (policy(delivery_limit=20), "ok: none takes anything"),
        (policy(max_in_memory_length=5), "ok: none takes anything"),
        (policy(pattern="^other$", message_ttl=1), "ok: none takes anything"),
        (policy(vhost="elsewhere", message_ttl=1), "ok: none takes anything"),
    ],
)
def test_an_operator_policy_that_takes_something_from_a_queue_is_told(row: OperatorPolicy, told: str) -> None:
    (said_now,) = said(with_state(sound(), operator_policies=lambda _: [row]), "operator-policies")
    assert said_now.startswith(told)


def test_only_the_operator_policy_of_the_highest_priority_counts() -> None:
    over = replace(policy(max_length=7), name="over", priority=2)
    rows = [policy(message_ttl=1), over]
    (told,) = said(with_state(sound(), operator_policies=lambda _: rows), "operator-policies")
    assert told.startswith("warn: operator policy over sets max-length 7")
