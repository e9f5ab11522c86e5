"""The rights of every role against what programs really ask for: all of it is allowed, and nothing is spare.

``tests/integration/worker/test_recorded_rights.py`` records real runs and keeps the record true.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleet.config.parse import parse
from fleet.topology import desired_state
from provisioning.broker import operations as ask
from provisioning.broker.permissions import NOTHING
from provisioning.broker.simulator import Rights
from provisioning.broker.state import State
from tests.recorded_rights import read, told

#: the fleet of the record
FILE = """
[broker]
url = "amqp://mq1"
password = "env:P"
profile = "{profile}"
[broker.users.web]
role = "publisher"
password = "env:P"
queues = ["shop"]
[broker.users.hands]
role = "operator"
password = "env:P"
[broker.users.eyes]
role = "observer"
password = "env:P"
[hosts.alpha]
[queues.shop]
tasks = ["probe.*"]
[queues.slow]
tasks = ["probe.sleep"]
long = true
per_host = true
[workers.shared]
queues = ["shop"]
[workers.slow]
queues = ["slow"]
"""
RECORD = read()
VERSIONS = ((3, 10, 8), (4, 0, 5))
DELAY = "0." * 27 + "1."
MAILBOX = "shared-a@alpha.celery.pidbox"
#: profile, user, whose record it is
USERS = [
    ("per-host", "celery", "celery"),
    ("per-host", "celery-alpha", "celery-alpha"),
    ("per-host", "celery-alpha_send", "celery-alpha_send"),
    ("least-privilege", "celery", "celery"),
    ("least-privilege", "celery", "celery-alpha"),
    ("least-privilege", "celery", "celery-alpha_send"),
    *(
        (profile, user, user)
        for profile in ("per-host", "least-privilege")
        for user in ("web", "hands", "eyes")
    ),
]


def state_of(profile: str) -> State:
    text = FILE.format(profile=profile)
    if profile == "per-host":
        text = text.replace("[broker]\n", '[broker]\nhost_password = "file:/{host}"\n')
    return desired_state(parse(text, source="fleet.toml"), {})


def rights(state: State, user: str, version: tuple[int, ...] = ()) -> Rights:
    return Rights.of(state, user, "celery", version=version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("profile", "user", "record"), USERS)
def test_all_that_a_role_asks_for_is_allowed(
    profile: str, user: str, record: str, version: tuple[int, ...]
) -> None:
    mine = rights(state_of(profile), user, version)
    assert told(operation for operation in RECORD[record] if not mine.allows(operation)) == []


def alternatives(expression: str) -> list[str]:
    """Return the alternatives of an expression such as ``^(a|b)$``; none here holds a bar itself."""
    return [] if expression == NOTHING else expression.removeprefix("^(").removesuffix(")$").split("|")


def weakened(state: State, user: str) -> Iterator[tuple[str, State]]:
    """Yield ``state`` with each one alternative taken from each permission of the user's, and its name."""
    (row,) = [each for each in state.permissions if each.user == user]
    others = tuple(each for each in state.permissions if each != row)
    for right in ("configure", "write", "read"):
        every = alternatives(getattr(row, right))
        for one in every:
            left = "|".join(each for each in every if each != one)
            weaker = replace(row, **{right: f"^({left})$" if left else NOTHING})
            yield f"{right} {one}", replace(state, permissions=(*others, weaker))


@pytest.mark.parametrize(
    ("profile", "user"),
    [("per-host", user) for user in RECORD],
)
def test_no_alternative_of_a_permission_could_be_left_out(profile: str, user: str) -> None:
    spare = [
        name
        for name, weaker in weakened(state_of(profile), user)
        if all(rights(weaker, user).allows(operation) for operation in RECORD[user])
    ]
    assert spare == []


#: what nobody but the provisioner may
NOBODYS: tuple[ask.Operation, ...] = (
    ask.Publish(exchange="", key="fleet.shop"),
    ask.Publish(exchange="", key=MAILBOX),
    ask.Publish(exchange="amq.topic", key="x"),
    ask.Publish(exchange="celery_delayed_0", key=f"{DELAY}fleet.slow.alpha"),
    ask.Publish(exchange="celery_delayed_delivery", key=f"{DELAY}fleet.slow.alpha"),
    ask.Publish(exchange="fleet.tasks", key="fleet.elsewhere"),
    ask.Publish(exchange="fleet.tasks", key=f"{DELAY}fleet.shop"),
    ask.Publish(exchange="fleet.tasks", key="fleet.slow.alpha.fleet.shop"),
    ask.Publish(exchange="celery_delayed_27", key=f"{DELAY}{DELAY}fleet.shop"),
    ask.Publish(exchange="fleet.journal", key="gamma"),
    ask.Publish(exchange="fleet.journal", key="@somebody"),
    ask.Purge(queue="celery_delayed_0"),
    ask.DeclareQueue(queue=""),
    ask.DeclareQueue(queue="spy"),
    ask.DeclareQueue(queue="fleet.shop"),
    ask.DeclareExchange(exchange="spy"),
    ask.DeclareExchange(exchange="fleet.tasks"),
    ask.DeleteQueue(queue="fleet.shop"),
    ask.DeleteQueue(queue="fleet.shop.dlq"),
    ask.DeleteQueue(queue="fleet.journal"),
    ask.DeleteExchange(exchange="fleet.tasks"),
    ask.DeleteExchange(exchange="celery_delayed_27"),
    ask.BindQueue(queue="fleet.shop", exchange="fleet.tasks", key="#"),
    ask.BindQueue(queue=MAILBOX, exchange="fleet.tasks", key="#"),
    ask.BindQueue(queue=MAILBOX, exchange="fleet.dead", key="fleet.shop.dlq"),
    ask.BindExchange(destination="celery.pidbox", source="fleet.tasks", key="#"),
)
#: an exchange that whoever has this mailbox may make, and what leads from there past topic permissions
BYPASSES: tuple[ask.Operation, ...] = (
    ask.BindExchange(destination="fleet.tasks", source=MAILBOX),
    ask.BindExchange(destination="celery_delayed_27", source=MAILBOX),
    ask.BindExchange(destination="fleet.journal", source=MAILBOX),
    ask.BindExchange(destination="fleet.dead", source=MAILBOX),
    ask.DeclareExchange(exchange="other@alpha.celery.pidbox", alternate_exchange="fleet.tasks"),
    ask.DeclareQueue(queue="other@alpha.celery.pidbox", dead_letter_exchange="fleet.tasks"),
)
#: what some role is for, and the others may not
SOMEBODYS: dict[ask.Operation, set[str]] = {
    ask.Publish(exchange="fleet.tasks", key="fleet.shop"): {
        "celery",
        "celery-alpha_send",
        "web",
        "hands",
    },
    ask.Publish(exchange="fleet.tasks", key="fleet.slow.alpha"): {
        "celery",
        "celery-alpha_send",
        "hands",
    },
    ask.Publish(exchange="celery_delayed_27", key=f"{DELAY}fleet.slow.alpha"): {
        "celery",
        "celery-alpha_send",
    },
    ask.Publish(exchange="fleet.journal", key="alpha"): {"celery-alpha_send"},
    ask.Publish(exchange="fleet.dead", key="fleet.shop.dlq"): {"celery-alpha_send"},
    ask.Publish(exchange="celery.pidbox"): {"hands"},
    ask.Consume(queue="fleet.shop"): {"celery-alpha"},
    ask.Consume(queue="fleet.shop.dlq"): {"hands"},
    ask.Consume(queue="fleet.journal"): {"hands", "eyes"},
    ask.Consume(queue=MAILBOX): {"celery-alpha"},
    ask.Purge(queue="fleet.shop"): {"celery-alpha"},
}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_nobodys_business_is_refused_to_everybody(version: tuple[int, ...]) -> None:
    for profile, user, _ in USERS:
        mine = rights(state_of(profile), user, version)
        assert told(operation for operation in NOBODYS if mine.allows(operation)) == [], (profile, user)


def test_what_is_one_roles_business_is_refused_to_the_others() -> None:
    state = state_of("per-host")
    allowed = {
        operation: {user for user in RECORD if rights(state, user).allows(operation)}
        for operation in SOMEBODYS
    }
    assert allowed == SOMEBODYS


def test_with_users_of_hosts_nobody_leads_a_message_of_his_own_past_topic_permissions() -> None:
    """Measured: each of these, where it is allowed, gets any routing key into ``fleet.tasks``."""
    state = state_of("per-host")
    for user in ("celery", "celery-alpha", "celery-alpha_send", "web", "eyes"):
        mine = rights(state, user)
        assert told(operation for operation in BYPASSES if mine.allows(operation)) == [], user
    # One user for all hosts needs no way round: it may send to every queue anyway.
    assert all(rights(state_of("least-privilege"), "celery").allows(operation) for operation in BYPASSES)
