"""From a fleet file to a broker and back: the adopted file's plan is empty, or says what it changes."""

import subprocess
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fleet.accounts import account
from fleet.adopt.adopt import Adoption, Wish, adopt
from fleet.adopt.draft import Draft
from fleet.adopt.file import write_secrets
from fleet.adopt.hashes import read_hash, write_hash
from fleet.adopt.names import listed
from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.topology import declared_users, desired_state
from provisioning.broker.objects import Binding, Exchange, Permission, Policy, Queue, User, Vhost
from provisioning.broker.passwords import Password, PasswordHash
from provisioning.broker.permissions import names
from provisioning.broker.state import State
from tests.unit.broker_tables import BROKER
from tests.unit.config.documents import Document, documents, to_toml

SALT = b"salt"
WISH = Wish(vhost="celery", nodes=("amqp://mq1:5672",), source="at http://mq1:15672", secrets="fleet.env")
FILE = f"""
{BROKER}[hosts.alpha]
[hosts."beta.example.org"]
[queues.email]
max_length = 1000
max_dead_letters = 50
[queues.images]
tasks = ["images.*"]
per_host = true
delivery_limit = 7
[workers.backup]
queues = ["backup"]
[workers.images]
hosts = ["alpha"]
queues = ["images"]
[workers.shared]
queues = ["email", "default"]
"""
VERSIONS = ((3, 10, 8), (3, 13, 7), (4, 0, 5))


def provisioned(text: str, version: tuple[int, ...]) -> State:
    """Return what a broker holds after ``text`` was provisioned; it keeps hashes only."""
    fleet = parse(text, source="fleet.toml")
    hashes = {name: Password(f"of {name}").hashed(salt=SALT) for name in declared_users(fleet)}
    state = desired_state(fleet, hashes, broker_version=version)
    admin = User(name="admin", tags=("administrator",), password=Password("a").hashed(salt=SALT))
    root = Permission(vhost="/", user="admin", configure=".*", write=".*", read=".*")
    return replace(
        state,
        vhosts=(Vhost(name="/"), *state.vhosts),
        users=(admin, *state.users),
        permissions=(root, *state.permissions),
        mark=None,
        keep=(),
    )


def adopted(state: State, version: Any = VERSIONS[0], **wish: Any) -> Adoption:
    return adopt(state, version, replace(WISH, **wish))


MANAGED = {"management_url": "http://mq1:15672", "management_user": "admin"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_provisioned_fleet_is_adopted_and_its_plan_is_empty(version: tuple[int, ...]) -> None:
    found = adopted(provisioned(FILE, version), version, **MANAGED)
    assert (found.plan.changes, found.unmanaged, found.is_fleet) == ((), (), True)
    fleet, original = parse(found.file, source="x"), parse(FILE, source="x")
    assert {u.name: (u.role, u.queues) for u in fleet.broker.users} == {
        u.name: (u.role, u.queues) for u in original.broker.users
    }
    assert {host.name for host in fleet.hosts} == {host.name for host in original.hosts}
    assert {
        (q.name, q.per_host, q.delivery_limit, q.max_length, q.max_dead_letters) for q in fleet.queues
    } == {(q.name, q.per_host, q.delivery_limit, q.max_length, q.max_dead_letters) for q in original.queues}


ROLES = st.one_of(
    st.just({"role": "observer"}),
    st.just({"role": "operator"}),
    st.just({"role": "monitor"}),
    st.just({"role": "scheduler"}),
    st.lists(st.sampled_from(["shop", "email"]), unique=True).map(
        lambda queues: {"role": "publisher", "queues": queues}
    ),
)
USERS = st.dictionaries(st.sampled_from(["a", "b-c", "b_c", "long-name"]), ROLES)


@given(
    document=documents(),
    version=st.sampled_from(VERSIONS),
    door=st.sampled_from(["http", "file"]),
    users=USERS,
    is_open=st.booleans(),
)
def test_whatever_fleet_was_provisioned_the_adopted_file_changes_nothing(
    document: Document, version: tuple[int, ...], door: str, users: Document, *, is_open: bool
) -> None:
    assume("redis" not in document["broker"].get("url", ""))
    more = {name: user | {"password": "env:P"} for name, user in users.items()}
    document["broker"] = document["broker"] | {"users": document["broker"].get("users", {}) | more}
    if is_open:
        document["broker"]["profile"] = "open"
    original = parse(to_toml(document), source="fleet.toml", plaintext_secrets=True)
    state = provisioned_from(document, version)
    broker = original.broker
    management = (
        {"management_url": "http://mq:1", "management_user": broker.management.user}
        if (broker.management and door == "http")
        else {}
    )
    hosts = tuple(host.name for host in original.hosts)
    found = adopted(state, version, vhost=broker.vhost, hosts=hosts, **management)
    assert found.plan.changes == ()
    left = {resource.label for resource in found.unmanaged}
    expected = (
        {f"permission of user {broker.management.user} in vhost {broker.vhost}"}
        if broker.management and door != "http"
        else set()
    )
    # Rights that a schedule explains are those of no other role, unless they are a publisher's as well.
    clocks = {user.name for user in broker.users if user.role == "scheduler"}
    of_clocks = {row.label for row in state.permissions if row.user in clocks}
    of_clocks |= {row.label for row in state.topic_permissions if row.user in clocks}
    assert left <= expected | of_clocks
    # Every hash leads back to the very hash that the broker has.
    stored = {user.name: user.password for user in state.users}
    lines = dict(line.split("=", 1) for line in found.secrets.splitlines() if line[:1] not in "#")
    declared = parse(found.file, source="x").broker
    for name, reference in [
        (declared.user, declared.password_hash),
        *((u.name, u.password_hash) for u in declared.users),
    ]:
        assert reference is not None
        assert read_hash(lines[reference.name], user=name) == stored[name]


def provisioned_from(document: Document, version: tuple[int, ...]) -> State:
    fleet = parse(to_toml(document), source="fleet.toml", plaintext_secrets=True)
    hashes = {name: Password(f"of {name}").hashed(salt=SALT) for name in declared_users(fleet)}
    return replace(desired_state(fleet, hashes, broker_version=version), mark=None, keep=())


def test_a_monitor_is_recognised_by_its_tag_and_kept() -> None:
    text = FILE + '[broker.users.eyes-on]\nrole = "monitor"\npassword = "env:P"\n'
    found = adopted(provisioned(text, VERSIONS[0]), **MANAGED)
    assert (found.plan.changes, found.unmanaged) == ((), ())
    assert [user.role for user in parse(found.file, source="x").broker.users if user.name == "eyes-on"] == [
        "monitor"
    ]


SCHEDULE = """
[broker.users.clock]
role = "scheduler"
password = "env:P"
[schedule.urls]
task = "fleet.check_urls"
every = "5m"
"""
IMAGES = '[schedule.images]\ntask = "images.thumbnails"\nhosts = ["alpha"]\nevery = "1h"\n'
ONE_BACKUP = """
[backups.etc]
hosts = ["alpha"]
sources = ["/etc"]
destination = "/b"
[schedule.etc]
backup = "etc"
every = "1d"
"""


def test_a_scheduler_whose_queues_are_whole_is_adopted_as_the_publisher_that_has_its_rights() -> None:
    found = adopted(provisioned(FILE + SCHEDULE + IMAGES, VERSIONS[0]), **MANAGED)
    assert (found.plan.changes, found.unmanaged) == ((), ())
    (clock,) = (user for user in parse(found.file, source="x").broker.users if user.name == "clock")
    assert (clock.role, sorted(clock.queues)) == ("publisher", ["default", "images"])


@pytest.mark.parametrize("schedule", [SCHEDULE + ONE_BACKUP, SCHEDULE[: SCHEDULE.index("[schedule.urls]")]])
def test_a_scheduler_whose_rights_only_its_schedule_explains_is_left_alone(schedule: str) -> None:
    found = adopted(provisioned(FILE + schedule, VERSIONS[0]), **MANAGED)
    assert found.plan.changes == ()
    labels = {left.label for left in found.unmanaged}
    assert "permission of user clock in vhost celery" in labels
    assert all("user clock" in label for label in labels)
    assert all("`scheduler`" in left.reason for left in found.unmanaged)
    assert "# permission of user clock in vhost celery: these rights are those of no role" in found.file


def test_adopting_what_was_adopted_writes_the_same_file() -> None:
    state = provisioned(FILE, VERSIONS[2])
    first = adopted(state, VERSIONS[2], **MANAGED)
    fleet = parse(first.file, source="x")
    hashes = {u.name: u.password for u in state.users if isinstance(u.password, PasswordHash)}
    again = replace(desired_state(fleet, hashes, broker_version=VERSIONS[2]), mark=None, keep=())
    assert adopted(again, VERSIONS[2], **MANAGED).file == first.file


def test_what_a_fleet_file_cannot_express_is_listed_with_the_reason_and_noted_in_the_file() -> None:
    state = provisioned(FILE, VERSIONS[0])
    strange = "line\nbreak"
    state = replace(
        state,
        queues=(*state.queues, Queue(vhost="celery", name=strange, type="classic")),
        exchanges=(*state.exchanges, Exchange(vhost="celery", name="old", type="fanout")),
        bindings=(*state.bindings, Binding(vhost="celery", source="old", destination=strange)),
        policies=(*state.policies, Policy(vhost="celery", name="mine", pattern="^x$")),
        users=(*state.users, User(name="Strange One")),
        permissions=(
            *state.permissions,
            Permission(vhost="celery", user="Strange One", configure="^$", write="^$", read="^x$"),
        ),
    )
    found = adopted(state, **MANAGED)
    assert found.plan.changes == ()
    assert {left.label for left in found.unmanaged} == {
        f"queue {strange} in vhost celery",
        "exchange old in vhost celery",
        f"binding old → queue {strange} by `` in vhost celery",
        "policy mine in vhost celery",
        "permission of user Strange One in vhost celery",
    }
    assert all(left.reason for left in found.unmanaged)
    # A policy is pruned only where its name says that it is the fleet's.
    kept = {left.label for left in found.unmanaged if "`--prune` would delete it" not in str(left)}
    assert kept == {"policy mine in vhost celery"}
    assert tomllib.loads(found.file)
    assert "# queue line\\nbreak in vhost celery: no queue of a fleet file stands for it" in found.file


def test_what_celerys_workers_declare_themselves_is_not_told() -> None:
    state = provisioned(FILE, VERSIONS[0])
    pidbox = Exchange(vhost="celery", name="celery.pidbox", type="fanout", durable=False)
    mailbox = Queue(vhost="celery", name="w@h.celery.pidbox", type="classic", durable=False, auto_delete=True)
    state = replace(
        state,
        exchanges=(*state.exchanges, pidbox),
        queues=(*state.queues, mailbox),
        bindings=(*state.bindings, Binding(vhost="celery", source=pidbox.name, destination=mailbox.name)),
    )
    assert adopted(state, **MANAGED).unmanaged == ()


def test_drift_is_told_as_what_provisioning_would_change() -> None:
    state = provisioned(FILE, VERSIONS[0])
    policies = tuple(replace(p, priority=0) if p.name == "fleet.email" else p for p in state.policies)
    found = adopted(replace(state, policies=policies), **MANAGED)
    assert [change.resource.label for change in found.plan.changes] == ["policy fleet.email in vhost celery"]


def test_an_open_profile_is_recognised_by_its_rights_and_its_tag() -> None:
    text = FILE.replace('password = "env:P"\n', 'password = "env:P"\nprofile = "open"\n', 1)
    found = adopted(provisioned(text, VERSIONS[0]), hosts=("alpha", "beta.example.org"), **MANAGED)
    assert found.plan.changes == ()
    assert tomllib.loads(found.file)["broker"]["profile"] == "open"


ARTICLE = State(
    vhosts=(Vhost(name="/"), Vhost(name="celery")),
    users=(
        User(name="admin", tags=("administrator",)),
        User(name="celery", tags=("administrator",), password=Password("s").hashed(salt=SALT)),
    ),
    permissions=(Permission(vhost="celery", user="celery", configure=".*", write=".*", read=".*"),),
    exchanges=(Exchange(vhost="celery", name="celery", type="direct"),),
    queues=(Queue(vhost="celery", name="celery", type="classic"),),
    bindings=(Binding(vhost="celery", source="celery", destination="celery", routing_key="celery"),),
)


def test_plain_celerys_vhost_is_adopted_as_open_and_nothing_of_it_is_touched() -> None:
    found = adopted(ARTICLE, hosts=("web-1",))
    assert not found.is_fleet
    fleet = parse(found.file, source="x")
    assert (fleet.broker.user, fleet.broker.profile) == ("celery", "open")
    # The one change is the mark on its user; the rest is added beside what is there.
    assert [c.resource.label for c in found.plan.changes if c.before is not None] == ["user celery"]
    assert {left.label for left in found.unmanaged} == {
        "queue celery in vhost celery",
        "exchange celery in vhost celery",
        "binding celery → queue celery by `celery` in vhost celery",
    }
    assert '# [queues.celery]\n# tasks = ["celery.tasks.*"]' in found.file


def test_a_vhost_that_is_nothing_like_a_fleet_is_refused() -> None:
    state = replace(
        ARTICLE,
        exchanges=(Exchange(vhost="celery", name="logs", type="fanout"),),
        queues=(Queue(vhost="celery", name="audit", type="classic"),),
        bindings=(Binding(vhost="celery", source="logs", destination="audit"),),
    )
    with pytest.raises(UsageError, match="vhost `celery` is nothing like a fleet"):
        adopted(state, hosts=("web-1",))


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"vhost": "sellery", "hosts": ("a",)}, "the broker has no vhost `sellery`"),
        ({}, "the broker does not tell which hosts run the workers"),
        ({"vhost": "/", "hosts": ("a",)}, "vhost `/` is the broker's own"),
        ({"nodes": ("nonsense",), "hosts": ("a",)}, "cannot stand in a fleet file"),
        ({"hosts": ("not a host",)}, "cannot stand in a fleet file"),
    ],
)
def test_what_the_broker_does_not_tell_is_asked_for(wish: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        adopted(ARTICLE, **wish)


def test_of_two_users_that_may_do_everything_none_is_guessed() -> None:
    other = Permission(vhost="celery", user="admin", configure=".*", write=".*", read=".*")
    state = replace(ARTICLE, permissions=(*ARTICLE.permissions, other))
    with pytest.raises(UsageError, match="does not tell which user") as caught:
        adopted(state, hosts=("web-1",))
    assert "--user; there are: admin, celery" in str(caught.value.hint)
    assert adopted(state, hosts=("web-1",), user="celery").plan.changes


def test_users_of_similar_names_get_variables_of_their_own() -> None:
    text = FILE.replace("[broker.users.app]", "[broker.users.my-app]") + (
        '[broker.users.my_app]\nrole = "observer"\npassword = "env:P"\n'
    )
    found = adopted(provisioned(text, VERSIONS[0]), **MANAGED)
    assert len(found.to_supply) == len(set(found.to_supply)) == 7


@pytest.mark.parametrize(
    "forged",
    [
        PasswordHash(salted="x\n$(touch here)"),
        PasswordHash(salted="$(touch here)"),
        PasswordHash(salted="c2FsdHNhbHQ=\n"),
        PasswordHash(salted="c2FsdHNhbHQ=", algorithm="rabbit_password_hashing_md5;touch here;"),
    ],
)
def test_a_hash_that_a_shell_would_run_is_refused(forged: PasswordHash) -> None:
    state = provisioned(FILE, VERSIONS[0])
    users = tuple(replace(u, password=forged) if u.name == "celery" else u for u in state.users)
    with pytest.raises(UsageError, match="user `celery` leads to something that is no hash"):
        adopted(replace(state, users=users), **MANAGED)


def test_the_file_of_hashes_means_to_a_shell_what_was_written() -> None:
    draft = Draft(source="here", secrets="fleet.env", nodes=(), vhost="celery", user="celery")
    text = write_secrets(draft, {"celery": "a b$(echo c)\n'd'"})
    show = ["sh", "-c", f'{text}printf %s "$FLEET_BROKER_PASSWORD_HASH"']
    assert subprocess.run(show, capture_output=True, check=True).stdout == b"a b$(echo c)\n'd'"


@given(wanted=st.lists(st.text("ab.|^[]\\()*+?$ é\n", min_size=1), max_size=4))
def test_the_names_of_an_expression_are_read_back(wanted: list[str]) -> None:
    assert set(listed(names(wanted)) or ()) == set(wanted)


@pytest.mark.parametrize("expression", [".*", "^a", "a$", "^(a.b)$", "^(a|b)", "^([ab])$", "^(b|a)$", ""])
def test_an_expression_that_is_no_list_of_names_is_none(expression: str) -> None:
    assert listed(expression) is None


@given(salt=st.binary(min_size=4, max_size=4), password=st.text(min_size=1))
def test_a_hash_is_read_as_it_was_written(salt: bytes, password: str) -> None:
    stored = Password(password).hashed(salt=salt)
    assert read_hash(write_hash(stored), user="u") == stored
    assert read_hash(stored.salted, user="u") == stored


@pytest.mark.parametrize("text", ["", "secret!", "md5:abc", "rabbit_password_hashing_sha256:", "YWJj="])
def test_what_is_no_hash_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_hash(text, user="u")
    assert not text or text not in caught.value.message


def with_second_user(state: State, name: str) -> State:
    """Return ``state`` in the middle of a rotation of this user's password."""
    (user,) = (user for user in state.users if user.name == name)
    second = replace(user, name=account(name, "b"), password=Password("the next").hashed(salt=SALT))
    rights = (replace(row, user=second.name) for row in state.permissions if row.user == name)
    return replace(state, users=(*state.users, second), permissions=(*state.permissions, *rights))


@pytest.mark.parametrize("name", ["celery", "shop"])
def test_a_rotation_that_is_under_way_is_to_be_finished_before_a_broker_is_adopted(name: str) -> None:
    with pytest.raises(UsageError, match="a rotation of passwords is under way") as caught:
        adopted(with_second_user(provisioned(FILE, VERSIONS[0]), name), **MANAGED)
    assert caught.value.hint is not None
    assert f"`fleet rotate password --user {name}`" in caught.value.hint


def test_a_user_whose_password_was_rotated_is_told_and_how_to_write_it_by_hand() -> None:
    rotated = with_second_user(provisioned(FILE, VERSIONS[0]), "celery")
    rotated = replace(rotated, users=tuple(user for user in rotated.users if user.name != "celery"))
    with pytest.raises(UsageError, match=r"`celery\+b` in vhost `celery` is user `celery`") as caught:
        adopted(rotated, **MANAGED)
    assert caught.value.hint is not None
    assert "`fleet rotate password --user celery`" in caught.value.hint
    assert "`fleet-slot-b:` in front" in caught.value.hint
