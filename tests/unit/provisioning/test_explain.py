"""``fleet permissions``: sentences that follow from the rights, and change with them."""

import re
from dataclasses import replace

import pytest

from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.model import Fleet
from fleet.ops.permissions import explain_user, look, simulate
from fleet.rights import Explanation, explain
from fleet.topology import desired_state
from provisioning.broker.objects import Permission
from provisioning.broker.operations import Right
from provisioning.broker.state import State
from tests.unit.provisioning.test_per_host import FILE

MORE = """
[broker.users.shop]
role = "publisher"
queues = ["email"]
password = "env:P"
[broker.users.hands]
role = "operator"
password = "env:P"
[broker.users.eyes]
role = "observer"
password = "env:P"
"""
EVERY = ("alpha", "beta", "gamma.example.org", "idle")


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse(FILE + MORE, source="fleet.toml")


@pytest.fixture(scope="module")
def state(fleet: Fleet) -> State:
    return desired_state(fleet, {})


def can(explanation: Explanation) -> dict[str, tuple[str, ...]]:
    return {ability.what: ability.names for ability in explanation.can}


def widened(state: State, user: str, **rights: str) -> State:
    rows = tuple(replace(row, **rights) if row.user == user else row for row in state.permissions)
    return replace(state, permissions=rows)


def test_what_the_users_of_hosts_can_do_is_what_their_workers_need(fleet: Fleet, state: State) -> None:
    assert can(explain(fleet, state, "celery-beta")) == {
        "command_workers_of": ("beta",),
        "consume": ("fleet.backup.beta", "fleet.email"),
        "read_mailboxes": ("beta",),
        "delete_mailboxes": ("beta",),
        "answer": (),
        "break_remote_control": (),
    }
    assert can(explain(fleet, state, "celery-alpha_send")) == {
        "send": ("fleet.backup.alpha",),
        "send_delayed": ("fleet.backup.alpha",),
        "write_dead_letters": ("fleet.backup.dlq", "fleet.email.dlq"),
        "report": ("alpha",),
    }


def test_a_publisher_an_observer_and_a_monitor_can_do_one_thing_each(fleet: Fleet, state: State) -> None:
    assert can(explain(fleet, state, "shop")) == {"send": ("fleet.email",), "send_delayed": ("fleet.email",)}
    assert can(explain(fleet, state, "eyes")) == {"read_journal": ()}
    assert can(explain(fleet, state, "prometheus")) == {"monitor": ()}


def test_an_operator_can_stop_every_worker_and_that_is_said_to_be_grave(fleet: Fleet, state: State) -> None:
    found = explain(fleet, state, "hands")
    (stop,) = [ability for ability in found.can if ability.what == "stop_workers"]
    assert (stop.words, stop.grave) == ("shut down every worker, and command it otherwise", True)
    assert can(found)["report"] == ("@hands",)
    # The mailbox of answers is also the name of an exchange of its own.
    assert can(found)["bypass_keys"] == ("fleet.journal", "fleet.tasks")


def test_who_may_bind_a_mailbox_to_an_exchange_of_its_own_commands_its_worker(state: State) -> None:
    text = re.sub('(profile|host_password|password = "env:GAMMA).*', "", FILE)
    shared = parse(text, source="fleet.toml")
    declared = desired_state(shared, {})
    found = can(explain(shared, declared, "celery", version=(3, 10, 8)))
    assert (found["stop_workers"], found["command_workers_of"]) == ((), EVERY)
    # There a mailbox is its worker's connection's alone.
    assert (
        not {"stop_workers", "command_workers_of"}
        & can(explain(shared, declared, "celery", version=(4, 0, 5))).keys()
    )
    past = widened(declared, "celery", write="^amq[.]default$")
    assert can(explain(shared, past, "celery", version=(4, 0, 5)))["command_workers_of"] == EVERY
    # One of two hosts is not every worker.
    assert "stop_workers" not in can(explain(parse(FILE, source="fleet.toml"), state, "celery-beta"))


@pytest.mark.parametrize(
    ("rights", "what", "names"),
    [
        ({"write": "amq"}, "write_any_queue", ()),
        ({"write": "pidbox"}, "stop_workers", ()),
        ({"configure": "mail"}, "delete_queues", ("fleet.email", "fleet.email.dlq")),
        ({"configure": "^fleet[.]tasks$"}, "delete_exchanges", ("fleet.tasks",)),
        ({"configure": ".*"}, "declare_any", ()),
        ({"write": "fleet", "read": "^fleet[.]dead$"}, "bind_queues", None),
        ({"read": "journal"}, "read_journal", ()),
        ({"read": "dlq"}, "take_dead_letters", ("fleet.backup.dlq", "fleet.email.dlq")),
        ({"configure": ".*", "read": ".*", "write": ".*"}, "divert", None),
    ],
)
def test_an_expression_that_reaches_too_far_is_found(
    fleet: Fleet, state: State, rights: dict[str, str], what: str, names: tuple[str, ...] | None
) -> None:
    assert what not in can(explain(fleet, state, "shop"))
    found = can(explain(fleet, widened(state, "shop", **rights), "shop"))
    assert what in found
    assert found[what] == names if names is not None else found[what]


def test_a_topic_permission_that_is_missing_lets_a_user_send_everywhere(fleet: Fleet, state: State) -> None:
    unlimited = replace(state, topic_permissions=())
    assert can(explain(fleet, unlimited, "shop"))["send"] == (
        "fleet.backup.alpha",
        "fleet.backup.beta",
        "fleet.email",
    )


def test_an_administrator_can_administer_without_any_permission(fleet: Fleet, state: State) -> None:
    users = tuple(
        replace(user, tags=("administrator",)) if user.name == "shop" else user for user in state.users
    )
    found = explain(fleet, replace(state, users=users, permissions=()), "shop")
    assert found.permission is None
    assert can(found) == {"administer": (), "set_policies": (), "monitor": ()}


def test_what_is_declared_is_answered_without_a_broker_or_a_password(fleet: Fleet) -> None:
    seen = look(fleet, {}, declared=True)
    assert explain_user(fleet, seen, "eyes").permission == Permission(
        vhost="celery", user="eyes", configure="^$", write="^$", read="^(fleet[.]journal)$"
    )
    yes = simulate(fleet, seen, "shop", Right.WRITE, "fleet.tasks", key="fleet.email")
    no = simulate(fleet, seen, "shop", Right.WRITE, "fleet.tasks", key="fleet.backup.alpha")
    assert (yes.allowed, no.allowed) == (True, False)
    assert "does not match key `fleet.backup.alpha`" in no.reason
    with pytest.raises(UsageError, match="declares no user `sop`") as caught:
        explain_user(fleet, seen, "sop")
    assert caught.value.hint == "did you mean `shop`?"
