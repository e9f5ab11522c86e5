import re
from dataclasses import replace

import pytest

from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.model import Fleet, Profile
from fleet.routes import broker_queues
from fleet.secrets import Secret
from fleet.topology import desired_state, mark_of, ownership_mark
from provisioning.broker.objects import Permission, Policy, TopicPermission
from provisioning.broker.state import State, refuse_protected
from provisioning.broker.tags import is_kept
from tests.unit.broker_tables import BROKER

FILE = f"""
[fleet]
name = "demo"
timezone = "UTC"
state_dir = "/var/lib/fleet"
{BROKER}[hosts.alpha]
[hosts."beta.example.org"]
[queues.email]
tasks = ["fleet.send_mail"]
max_length = 1000
max_dead_letters = 50
"""
DELAY = "0." * 27 + "1."
PIDBOX = "backup-a@alpha.celery.pidbox"
#: names that somebody may or may not write to, read from or declare
NAMES = (
    "",
    "amq.default",
    "fleet.tasks",
    "fleet.dead",
    "fleet.journal",
    "fleet.email",
    "fleet.email.dlq",
    "fleet.backup.alpha",
    "celery_delayed_27",
    "celery_delayed_0",
    "celery_delayed_delivery",
    "celery.pidbox",
    "reply.celery.pidbox",
    PIDBOX,
    "fleetXtasks",
    "amq.gen-x",
)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse(FILE, source="fleet.toml")


@pytest.fixture(scope="module")
def state(fleet: Fleet) -> State:
    return desired(fleet)


def desired(fleet: Fleet, *, version: tuple[int, ...] = (3, 10, 8)) -> State:
    users = ("celery", "shop", "app", "eyes", "hands")
    return desired_state(fleet, {user: Secret(f"secret-{user}") for user in users}, broker_version=version)


def permission(state: State, user: str) -> Permission:
    return next(row for row in state.permissions if row.user == user)


def keys(state: State, user: str, exchange: str) -> TopicPermission:
    return next(row for row in state.topic_permissions if (row.user, row.exchange) == (user, exchange))


def allowed(regex: str) -> set[str]:
    return {name for name in NAMES if re.search(regex, name)}


def test_every_task_queue_is_bound_for_direct_and_for_delayed_messages(fleet: Fleet, state: State) -> None:
    bound = {(b.source, b.destination, b.routing_key) for b in state.bindings}
    for queue in broker_queues(fleet):
        assert ("fleet.tasks", queue.name, f"#.{queue.name}") in bound
        assert ("celery_delayed_delivery", "fleet.tasks", f"#.{queue.name}") in bound


def test_every_task_queue_has_one_policy_that_dead_letters_to_a_bound_queue(
    fleet: Fleet, state: State
) -> None:
    bound = {(b.source, b.destination, b.routing_key) for b in state.bindings}
    for queue in broker_queues(fleet):
        (policy,) = [p for p in state.policies if re.search(p.pattern, queue.name)]
        assert policy.definition["dead-letter-routing-key"] == queue.dead_letter_queue
        assert policy.definition["overflow"] == "reject-publish"
        assert ("fleet.dead", queue.dead_letter_queue, queue.dead_letter_queue) in bound
        assert queue.dead_letter_queue in {q.name for q in state.queues if q.type == "quorum"}


def test_whatever_a_binding_names_is_declared(state: State) -> None:
    there = {resource.identity for resource in state}
    assert not [binding.label for binding in state.bindings if not there.issuperset(binding.requires)]


def test_a_length_limit_stands_in_the_policy(state: State) -> None:
    lengths = {policy.name: policy.definition.get("max-length") for policy in state.policies}
    assert {name: lengths[name] for name in ("fleet.backup", "fleet.email")} == {
        "fleet.backup": None,
        "fleet.email": 1000,
    }


@pytest.mark.parametrize(
    ("version", "names"),
    [((), set()), ((3, 10, 8), set()), ((3, 12), {"fleet.backup"}), ((4, 0, 5), {"fleet.backup"})],
)
def test_long_queues_get_a_consumer_timeout_where_the_broker_knows_one(
    fleet: Fleet, version: tuple[int, ...], names: set[str]
) -> None:
    policies = desired(fleet, version=version).policies
    assert {p.name for p in policies if "consumer-timeout" in p.definition} == names


def test_dead_letters_are_never_dropped_for_being_looked_at(fleet: Fleet) -> None:
    # Version 3.10 has no limit of its own and knows no -1.
    limits = {
        version: [
            p.definition.get("delivery-limit") for p in _of_dead_letters(desired(fleet, version=version))
        ]
        for version in ((3, 10, 8), (4, 0))
    }
    assert limits == {(3, 10, 8): [None] * 3, (4, 0): [-1] * 3}


def test_a_dead_letter_queue_that_is_full_refuses_more_and_drops_nothing(state: State) -> None:
    policies = _of_dead_letters(state)
    assert [(p.definition["max-length"], p.definition["overflow"]) for p in policies] == [
        (100_000, "reject-publish"),
        (100_000, "reject-publish"),
        (50, "reject-publish"),
    ]
    assert re.search(policies[2].pattern, "fleet.email.dlq")
    assert not re.search(policies[2].pattern, "fleet.email")


def _of_dead_letters(state: State) -> list[Policy]:
    return sorted((policy for policy in state.policies if policy.name.endswith(".dlq")), key=lambda p: p.name)


def test_the_journal_is_a_stream_of_segments_small_enough_to_expire(state: State) -> None:
    (stream,) = [queue for queue in state.queues if queue.type == "stream"]
    assert stream.arguments["x-max-age"] == "30D"
    assert stream.arguments["x-stream-max-segment-size-bytes"] <= 1_000_000


def test_a_worker_declares_nothing_but_its_mailbox(state: State) -> None:
    row = permission(state, "celery")
    assert allowed(row.configure) == {"celery.pidbox", "reply.celery.pidbox", PIDBOX}
    assert allowed(row.write) == {
        "fleet.tasks",
        "fleet.dead",
        "fleet.journal",
        "celery_delayed_27",
        "reply.celery.pidbox",
        PIDBOX,
    }
    assert allowed(row.read) == {"fleet.email", "fleet.backup.alpha", "celery.pidbox", PIDBOX}


def test_a_worker_reports_only_as_a_host_of_the_fleet(state: State) -> None:
    row = keys(state, "celery", "fleet.journal")
    assert re.search(row.write, "beta.example.org")
    assert not re.search(row.write, "beta-example-org")
    assert not re.search(row.write, "gamma")


def test_a_publisher_writes_to_its_queues_now_or_later_and_nowhere_else(state: State) -> None:
    row = permission(state, "shop")
    assert allowed(row.configure) == {""}
    assert allowed(row.read) == {""}
    assert allowed(row.write) == {"fleet.tasks", "celery_delayed_27"}
    now, later = (keys(state, "shop", exchange).write for exchange in ("fleet.tasks", "celery_delayed_27"))
    assert re.search(now, "fleet.email")
    assert re.search(later, f"{DELAY}fleet.email")
    for foreign in ("fleet.backup.alpha", "x.fleet.email", "fleet.email.x", f"{DELAY}fleet.email", ""):
        assert not re.search(now, foreign)
    for foreign in (
        f"{DELAY}fleet.backup.alpha",
        "fleet.email",
        f"1.{DELAY}fleet.email",
        f"{DELAY}x.fleet.email",
    ):
        assert not re.search(later, foreign)


def test_a_publisher_without_queues_writes_to_all_of_them(state: State) -> None:
    row = keys(state, "app", "fleet.tasks")
    assert re.search(row.write, "fleet.backup.beta.example.org")
    assert not re.search(row.write, "fleet.email.dlq")


def test_an_observer_only_reads_the_journal(state: State) -> None:
    row = permission(state, "eyes")
    assert [allowed(r) for r in (row.configure, row.write, row.read)] == [{""}, {""}, {"fleet.journal"}]


def test_an_operator_commands_workers_takes_dead_letters_and_sends_them_back(state: State) -> None:
    row = permission(state, "hands")
    assert allowed(row.write) == {"celery.pidbox", "fleet.tasks", "fleet.journal"}
    assert allowed(row.read) == {"reply.celery.pidbox", "fleet.email.dlq", "fleet.journal"}
    tasks = keys(state, "hands", "fleet.tasks").write
    assert re.search(tasks, "fleet.email")
    assert not re.search(tasks, f"{DELAY}fleet.email")
    assert not re.search(tasks, "fleet.elsewhere")


def test_an_operator_writes_to_the_journal_under_no_other_name(state: State) -> None:
    journal = keys(state, "hands", "fleet.journal").write
    assert re.search(journal, "@hands")
    for foreign in ("alpha", "hands", "@eyes", "@handsome"):
        assert not re.search(journal, foreign)


def test_the_provisioners_permission_is_declared_and_its_account_is_not(state: State) -> None:
    assert permission(state, "admin").configure == ".*"
    assert "admin" not in {user.name for user in state.users}


@pytest.mark.parametrize("vhost", ["é", "v ", "x" * 250])
def test_the_mark_of_a_vhost_is_a_tag_that_a_broker_keeps(vhost: str) -> None:
    marks = {mark_of(name) for name in (vhost, f"{vhost}x", f" {vhost}")}
    assert len(marks) == 3
    assert all(is_kept(mark) for mark in marks)
    assert mark_of("shop $x") == "fleet:shop $x"


def test_limited_users_carry_the_mark_by_which_they_may_be_pruned(fleet: Fleet, state: State) -> None:
    assert {user.tags for user in state.users} == {(ownership_mark(fleet),)}


def test_the_open_profile_is_one_administrator_who_may_do_everything(fleet: Fleet) -> None:
    open_fleet = replace(fleet, broker=replace(fleet.broker, profile=Profile.OPEN, users=(), management=None))
    state = desired(open_fleet)
    assert [(user.name, user.tags) for user in state.users] == [("celery", ("administrator", "fleet:celery"))]
    (row,) = state.permissions
    assert (row.user, row.vhost, row.configure, row.write, row.read) == ("celery", "celery", ".*", ".*", ".*")
    assert state.topic_permissions == ()


def test_a_provisioner_with_limited_rights_would_disarm_itself_and_is_refused(fleet: Fleet) -> None:
    assert fleet.broker.management
    own = replace(fleet.broker.management, user="celery")
    with pytest.raises(UsageError, match="`celery` is the management user"):
        desired(replace(fleet, broker=replace(fleet.broker, management=own)))
    desired(replace(fleet, broker=replace(fleet.broker, management=own, profile=Profile.OPEN)))


def test_two_queues_never_share_a_name(fleet: Fleet) -> None:
    clash = replace(fleet.queues[0], name="email.dlq", per_host=False)
    with pytest.raises(UsageError, match=r"both be `fleet\.email\.dlq`"):
        desired(replace(fleet, queues=(*fleet.queues, clash)))


def test_the_desired_state_names_nothing_that_is_protected(state: State) -> None:
    refuse_protected(state)
