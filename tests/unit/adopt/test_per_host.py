"""A fleet whose hosts have broker users of their own is adopted as one, whatever its hosts serve."""

from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.adopt.adopt import Adoption, Wish, adopt
from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.model import Fleet, Profile
from fleet.ops.broker_users import kept_passwords
from fleet.topology import declared_users, desired_state
from provisioning.broker.objects import Permission, User
from provisioning.broker.passwords import Password
from provisioning.broker.state import State
from provisioning.plan import plan
from tests.unit.config.documents import Document, to_toml

WISH = Wish(vhost="celery", nodes=("amqp://mq1:5672",), source="at http://mq1:15672", secrets="fleet.env")
VERSIONS = ((3, 10, 8), (3, 13, 7), (4, 0, 5))
#: each of the last ends as another one does
HOSTS = ("alpha", "db.example.org", "1", "web-1", "x-web-1")
QUEUES = ("backup", "email", "shop", "pay-2", "shared")
ROLES: st.SearchStrategy[Document] = st.sampled_from(
    [{"role": "observer"}, {"role": "operator"}, {"role": "monitor"}, {"role": "publisher"}]
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A fleet file with the profile, of any hosts, queues, and workers that serve them."""
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=1, unique=True))
    some_hosts = st.lists(st.sampled_from(hosts), min_size=1, unique=True)
    shapes = st.fixed_dictionaries(
        {"long": st.booleans(), "per_host": st.booleans()},
        optional={"delivery_limit": st.just(3), "max_length": st.just(900)},
    )
    queues = draw(st.dictionaries(st.sampled_from(QUEUES), shapes, min_size=1))
    workers = {f"of-{name}": {"queues": [name], "hosts": draw(some_hosts)} for name in queues}
    short = [name for name, shape in queues.items() if not shape["long"]]
    if short:
        workers["more"] = {
            "queues": draw(st.lists(st.sampled_from(short), min_size=1, unique=True)),
            "hosts": draw(some_hosts),
        }
    users = draw(st.dictionaries(st.sampled_from(["web-x", "a_send", "celery-b"]), ROLES))
    return {
        "broker": {
            "url": "amqp://mq1",
            "user": draw(st.sampled_from(["celery", "web", "me-1"])),
            "password": "env:MAIN",
            "profile": "per-host",
            "host_password": "file:/{host}",
            "management": {"url": "http://mq1:15672", "user": "admin", "password": "env:ADMIN"},
            "users": {name: user | {"password": "env:P"} for name, user in users.items()},
        },
        "hosts": {name: {} for name in hosts},
        "queues": {name: {"tasks": [f"{name}.*"]} | shape for name, shape in queues.items()},
        "workers": workers,
    }


def provisioned(fleet: Fleet, version: tuple[int, ...] = VERSIONS[0]) -> State:
    """Return what a broker holds after ``fleet`` was provisioned; it salts each user's hash on its own."""
    hashes = {name: Password(f"of {name}").hashed(salt=b"salt") for name in declared_users(fleet)}
    return replace(desired_state(fleet, hashes, broker_version=version), mark=None, keep=())


def adopted(state: State, version: tuple[int, ...] = VERSIONS[0], **wish: Any) -> Adoption:
    managed = {"management_url": "http://mq1:15672", "management_user": "admin"}
    return adopt(state, version, replace(WISH, **managed | wish))


def kept(found: Adoption) -> dict[str, str]:
    """Return the variables that the file of hashes sets."""
    lines = (line.partition("=") for line in found.secrets.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}


@given(document=documents(), version=st.sampled_from(VERSIONS), managed=st.booleans())
def test_whatever_its_hosts_serve_the_adopted_file_and_the_hashes_change_nothing(
    document: Document, version: tuple[int, ...], *, managed: bool
) -> None:
    original = parse(to_toml(document), source="fleet.toml")
    state = provisioned(original, version)
    wish = {} if managed else {"management_url": None, "management_user": None}
    found = adopted(state, version, **wish)
    assert found.plan.changes == ()
    left = [each.label for each in found.unmanaged]
    assert left == ([] if managed else ["permission of user admin in vhost celery"])
    # The hashes in their file are all that provisioning needs: what it would do is nothing, too.
    fleet = parse(found.file, source="adopted.toml")
    passwords = {user: each.secret for user, each in kept_passwords(fleet, kept(found)).items()}
    desired = desired_state(fleet, passwords, broker_version=version)
    assert plan(desired, state).changes == ()
    assert (fleet.broker.profile, fleet.broker.user) == (Profile.PER_HOST, original.broker.user)
    assert {user.name: user.role for user in fleet.broker.users} == {
        user.name: user.role for user in original.broker.users
    }
    assert adopted(provisioned_again(fleet, state, version), version, **wish).file == found.file


def provisioned_again(fleet: Fleet, state: State, version: tuple[int, ...]) -> State:
    made = desired_state(fleet, {}, broker_version=version)
    rows = {row.identity: row for row in chain(made.permissions, state.permissions)}
    return replace(made, users=state.users, permissions=tuple(rows.values()), mark=None, keep=())


FILE = """
[broker]
url = "amqp://mq1"
password = "env:MAIN"
profile = "per-host"
host_password = "env:P_{host}"
[broker.management]
url = "http://mq1:15672"
user = "admin"
password = "env:ADMIN"
[hosts.alpha]
[hosts.beta]
[hosts.gamma]
[queues.backup]
[queues.email]
[queues.default]
[workers.backup]
hosts = ["alpha", "beta"]
queues = ["backup"]
[workers.mail]
hosts = ["beta", "gamma"]
queues = ["email"]
[workers.rest]
queues = ["default"]
"""


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return parse(FILE, source="fleet.toml")


def without(state: State, *users: str) -> State:
    """Return ``state`` after ``users`` were deleted, their rights with them."""
    return replace(
        state,
        users=tuple(row for row in state.users if row.name not in users),
        permissions=tuple(row for row in state.permissions if row.user not in users),
        topic_permissions=tuple(row for row in state.topic_permissions if row.user not in users),
    )


def changed(found: Adoption) -> set[str]:
    return {change.resource.label for change in found.plan.changes}


def test_workers_are_where_the_rights_of_the_hosts_say(fleet: Fleet) -> None:
    written = parse(adopted(provisioned(fleet)).file, source="adopted.toml")
    assert {
        host.name: {name for worker in written.workers_on(host.name) for name in worker.queues}
        for host in written.hosts
    } == {
        "alpha": {"backup", "default"},
        "beta": {"backup", "email", "default"},
        "gamma": {"email", "default"},
    }
    # What every host serves is written so that a further host serves it, too.
    assert '[workers.shared]\nqueues = ["default"]' in adopted(provisioned(fleet)).file


def test_each_password_is_to_be_supplied_once_and_each_user_has_a_hash_of_its_own(fleet: Fleet) -> None:
    found = adopted(provisioned(fleet))
    hosts = tuple(f"FLEET_HOST_{host}_PASSWORD" for host in ("ALPHA", "BETA", "GAMMA"))
    assert found.to_supply == ("FLEET_BROKER_PASSWORD", *hosts, "FLEET_ADMIN_PASSWORD")
    of_hosts = {f"{name}_{end}" for name in hosts for end in ("HASH", "SENDER_HASH")}
    assert set(kept(found)) == of_hosts | {"FLEET_BROKER_PASSWORD_HASH"}
    assert len(set(kept(found).values())) == 7


@pytest.mark.parametrize("lost", ["celery", "celery-beta", "celery-beta_send", "celery-gamma_send"])
def test_a_user_that_was_deleted_is_seen_by_the_others_and_made_again(fleet: Fleet, lost: str) -> None:
    found = adopted(without(provisioned(fleet), lost))
    assert {label for label in changed(found) if lost not in label} == set()
    assert f"user {lost}" in changed(found)
    assert f"permission of user {lost} in vhost celery" in changed(found)
    assert found.unmanaged == ()


def test_rights_that_were_tampered_with_are_shown_as_what_provisioning_changes(fleet: Fleet) -> None:
    state = provisioned(fleet)
    rows = (replace(row, write=".*") if row.user == "celery-beta" else row for row in state.permissions)
    found = adopted(replace(state, permissions=tuple(rows)))
    assert changed(found) == {"permission of user celery-beta in vhost celery"}


def test_a_lost_signature_in_the_journal_does_not_hide_whose_users_they_are(fleet: Fleet) -> None:
    state = provisioned(fleet)
    rows = tuple(row for row in state.topic_permissions if row.exchange != "fleet.journal")
    found = adopted(replace(state, topic_permissions=rows), hosts=("gamma",))
    assert changed(found) == {
        f"topic permission of user celery-{host}_send on exchange fleet.journal in vhost celery"
        for host in ("alpha", "beta", "gamma")
    }


def test_a_host_whose_users_were_deleted_gets_none_again_and_its_queue_is_left_alone(fleet: Fleet) -> None:
    found = adopted(without(provisioned(fleet), "celery-alpha", "celery-alpha_send"))
    # Nobody may send to that queue any more, and its policy no longer names it.
    assert changed(found) == {
        "policy fleet.backup in vhost celery",
        "topic permission of user celery on exchange fleet.tasks in vhost celery",
        "topic permission of user celery on exchange celery_delayed_27 in vhost celery",
    }
    assert {left.label.partition(" in vhost")[0] for left in found.unmanaged} >= {"queue fleet.backup.alpha"}
    assert '[hosts."alpha"]' not in found.file


def test_a_host_that_is_only_named_has_no_users_and_no_work(fleet: Fleet) -> None:
    found = adopted(provisioned(fleet), hosts=("idle",))
    assert changed(found) == set()
    written = parse(found.file, source="adopted.toml")
    assert [host.name for host in written.hosts] == ["alpha", "beta", "gamma", "idle"]
    assert written.workers_on("idle") == ()


def test_users_that_a_fleet_has_left_behind_do_not_make_it_one_of_users_per_host(fleet: Fleet) -> None:
    single = parse(FILE.replace('profile = "per-host"\nhost_password = "env:P_{host}"\n', ""), source="x")
    state, before = provisioned(single), provisioned(fleet)
    left = {row.name for row in before.users} - {"celery", "admin"}
    state = replace(
        state,
        users=(*state.users, *(row for row in before.users if row.name in left)),
        permissions=(*state.permissions, *(row for row in before.permissions if row.user in left)),
        topic_permissions=(
            *state.topic_permissions,
            *(row for row in before.topic_permissions if row.user in left),
        ),
    )
    found = adopted(state)
    assert changed(found) == set()
    assert parse(found.file, source="x").broker.profile is Profile.LEAST_PRIVILEGE
    assert {each.label for each in found.unmanaged if each.label.startswith("permission")} == {
        f"permission of user {name} in vhost celery" for name in left
    }


def test_another_user_than_that_of_the_hosts_is_refused_as_the_fleets_own(fleet: Fleet) -> None:
    state = provisioned(fleet)
    row = Permission(vhost="celery", user="shop", configure="^$", write="^$", read="^$")
    state = replace(state, users=(*state.users, User(name="shop")), permissions=(*state.permissions, row))
    with pytest.raises(UsageError, match="are of the fleet of user `celery`, not of `shop`") as caught:
        adopted(state, user="shop")
    assert caught.value.hint == "leave out --user, or write --user celery"
    assert adopted(state, user="celery").plan.changes == ()


def test_a_hash_of_one_of_two_users_alone_is_not_written_for_both(fleet: Fleet) -> None:
    state = provisioned(fleet)
    users = (replace(row, password=None) if row.name == "celery-beta_send" else row for row in state.users)
    found = adopted(replace(state, users=tuple(users)))
    assert [name for name in kept(found) if "BETA" in name] == []
    assert "FLEET_HOST_BETA_PASSWORD" in found.to_supply
