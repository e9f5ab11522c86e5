"""Who knows that a user's password was rotated: logins, plans, the doctor, and what keeps the secrets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.accounts import MARK, accounts_there
from fleet.config.parse import parse
from fleet.doctor.diagnose import diagnose
from fleet.doctor.finding import Level
from fleet.errors import ConfigError, PartlyDone, UsageError
from fleet.hosts.bundle import File, bundle
from fleet.hosts.material import gather
from fleet.login import beat_login, host_login, login_of
from fleet.model import Fleet
from fleet.ops.broker_users import kept_passwords, users_wanted
from fleet.ops.rotate import keeping
from fleet.ops.rotate.passwords import KeptPassword, choose_passwords
from fleet.roles import operator
from fleet.routes import audit_key
from fleet.secrets import Secret
from fleet.topology import declared_users, desired_state, ownership_mark
from fleet.worker.app import build_app
from fleet.worker.context import worker_context
from provisioning.broker.objects import User
from tests.unit.doctor.sound import sound

FILE = """
[broker]
url = "amqp://mq1"
password = "env:P"
{more}
[broker.users.shop]
role = "publisher"
queues = ["email"]
password = "env:SHOP"
[broker.users.ops]
role = "operator"
password = "env:P"
[hosts.alpha]
[hosts.beta]
"""
SCHEDULED = """
[broker.users.clock]
role = "scheduler"
password = "env:CLOCK"
[schedule.urls]
task = "fleet.check_urls"
every = "5m"
"""
PER_HOST = 'profile = "per-host"\nhost_password = "env:P_{host}"'


def fleet(more: str = "", *, tables: str = "", **places: str) -> Fleet:
    text = FILE.format(more=more) + tables
    for old, new in places.items():
        text = text.replace(f'"env:{old}"', f'"{new}"')
    return parse(text, source="fleet.toml")


def only(found: tuple[KeptPassword, ...]) -> KeptPassword:
    (each,) = found
    return each


def marked_user(fleet: Fleet, name: str) -> User:
    return User(name=name, tags=(ownership_mark(fleet),))


def test_a_login_is_the_user_that_the_kept_password_belongs_to() -> None:
    environ = {"P": f"{MARK}new", "SHOP": "old"}
    login = login_of(fleet().broker, environ=environ)
    assert (login.user, login.password) == ("celery+b", Secret("new"))
    assert login_of(fleet().broker, "shop", environ=environ).user == "shop"


def test_beat_logs_in_as_the_scheduler_and_without_one_as_the_fleets_own_user() -> None:
    environ = {"P": "main", "CLOCK": "ticks"}
    login = beat_login(fleet(tables=SCHEDULED).broker, environ=environ)
    assert (login.user, login.password) == ("clock", Secret("ticks"))
    rotated = beat_login(fleet(tables=SCHEDULED).broker, environ={"CLOCK": f"{MARK}tocks"})
    assert (rotated.user, rotated.password) == ("clock+b", Secret("tocks"))
    plain = beat_login(fleet().broker, environ=environ)
    assert (plain.user, plain.password) == ("celery", Secret("main"))


def test_of_two_schedulers_the_first_is_beats() -> None:
    second = '[broker.users.second]\nrole = "scheduler"\npassword = "env:SECOND"\n'
    found = fleet(tables=SCHEDULED + second)
    assert beat_login(found.broker, environ={"CLOCK": "ticks"}).user == "clock"
    assert only(choose_passwords(found, ("second",))).hosts == ()


def test_both_users_of_a_host_change_with_its_one_password() -> None:
    environ = {"P_alpha": f"{MARK}new", "P_beta": "old"}
    users = [
        host_login(fleet(PER_HOST), host, sends=sends, environ=environ).user
        for host in ("alpha", "beta")
        for sends in (False, True)
    ]
    assert users == ["celery-alpha+b", "celery-alpha_send+b", "celery-beta", "celery-beta_send"]


def test_on_a_host_one_file_changes_and_that_is_the_password() -> None:
    def files(password: str) -> dict[str, bytes]:
        material = gather(fleet(), "alpha", environ={"P": password})
        records = bundle(fleet(), "alpha", "1-x", material)
        return {each.path: each.content for each in records if isinstance(each, File)}

    before, after = files("old"), files(f"{MARK}new")
    assert {path for path in before if before[path] != after[path]} == {
        "/etc/fleet/credentials/broker-password"
    }
    assert after["/etc/fleet/credentials/broker-password"] == f"{MARK}new".encode()


def test_a_worker_goes_on_as_the_user_it_began_with_when_the_password_becomes_another_users() -> None:
    environ = {"P": "old"}
    app = build_app(worker_context(fleet(), host="alpha", worker="shared", environ=environ))
    environ["P"] = "old, set anew"
    assert app.broker_password() == "old, set anew"
    environ["P"] = f"{MARK}new"
    assert (app.connection_for_read().userid, app.broker_password()) == ("celery", "old, set anew")
    later = build_app(worker_context(fleet(), host="alpha", worker="shared", environ=environ))
    assert (later.connection_for_read().userid, later.broker_password()) == ("celery+b", "new")


def test_the_second_user_may_do_what_the_first_may_and_an_operator_keeps_his_name_in_the_journal() -> None:
    both = {"ops": ("ops", "ops+b")}
    state = desired_state(fleet(), {}, accounts=both)
    rights = {
        name: (
            [replace(row, user="") for row in state.permissions if row.user == name],
            [replace(row, user="") for row in state.topic_permissions if row.user == name],
        )
        for name in both["ops"]
    }
    assert rights["ops"] == rights["ops+b"]
    assert all(rights["ops"])
    assert audit_key("ops+b") == audit_key("ops") == "@ops"
    assert operator(fleet(), "ops").given_to("ops+b").permission in state.permissions


def test_while_both_users_are_there_both_are_declared_and_the_replaced_one_keeps_its_password() -> None:
    environ = {"P": f"{MARK}new", "SHOP": "s"}
    there = [marked_user(fleet(), name) for name in ("celery", "celery+b", "shop", "ops+b")]
    wanted = users_wanted(fleet(), kept_passwords(fleet(), environ), there)
    assert wanted.accounts == {"celery": ("celery+b", "celery"), "shop": ("shop",), "ops": ("ops+b",)}
    assert "celery" not in wanted.passwords
    assert wanted.passwords["celery+b"] == Secret("new")
    assert "`fleet rotate password --user celery`" in wanted.notes[0]


def test_a_password_that_was_replaced_is_refused_and_not_told() -> None:
    kept = kept_passwords(fleet(), {"P": "leaked", "SHOP": "s"})
    with pytest.raises(UsageError, match=r"`env:P`.*user `celery\+b` has taken its place") as refused:
        users_wanted(fleet(), kept, [marked_user(fleet(), "celery+b")])
    assert "leaked" not in refused.value.message


def test_a_user_of_that_name_without_our_mark_is_nobody_of_ours() -> None:
    kept = kept_passwords(fleet(), {"P": "p", "SHOP": "s"})
    wanted = users_wanted(fleet(), kept, [marked_user(fleet(), "celery"), User(name="celery+b")])
    assert wanted.accounts["celery"] == ("celery",)


def test_the_doctor_finds_nothing_wrong_in_the_middle_of_a_rotation_or_after_it() -> None:
    facts = sound()
    users = declared_users(facts.fleet)
    for slots in (("", "+b"), ("+b",)):
        accounts = {user: tuple(f"{user}{slot}" for slot in slots) for user in users}
        state = desired_state(facts.fleet, {}, broker_version=facts.version or (), accounts=accounts)
        found = diagnose(replace(facts, state=state))
        assert {each.level for each in found if each.check in ("rights", "declared")} == {Level.OK}


def test_users_that_share_a_password_are_rotated_together_and_hosts_that_have_it_are_known() -> None:
    kept = only(choose_passwords(fleet(), ("ops",)))
    assert (kept.name, kept.hosts) == ("celery and ops", ("alpha", "beta"))
    assert only(choose_passwords(fleet(), ("shop",))).hosts == ()
    clock = only(choose_passwords(fleet(PER_HOST, tables=SCHEDULED), ("clock",)))
    assert (clock.users, clock.hosts) == (("clock",), ("alpha",))
    main = only(choose_passwords(fleet(PER_HOST, tables=SCHEDULED, P="env:MAIN"), ("celery",)))
    assert main.hosts == ()
    of_host = only(choose_passwords(fleet(PER_HOST), ("celery-beta_send",)))
    assert (of_host.users, of_host.hosts) == (("celery-beta", "celery-beta_send"), ("beta",))


@pytest.mark.parametrize(
    ("more", "user", "reason"),
    [
        ('password_hash = "env:HASH"', "celery", "by the hash of its password"),
        ('[broker.management]\nurl = "http://mq1"\nuser = "root"\npassword = "env:P"', "celery", "is also"),
        ("", "nobody", "declares no user `nobody`"),
    ],
)
def test_what_cannot_be_rotated_is_refused_with_the_reason(more: str, user: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        choose_passwords(fleet(more), (user,))


def test_no_user_of_a_fleet_file_has_a_name_that_a_rotation_gives() -> None:
    with pytest.raises(ConfigError, match=r"`celery\+b` ends in"):
        fleet('user = "celery+b"')


class TestKeeping:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> KeptPassword:
        path = tmp_path / "celery.password"
        path.write_text("first\n")
        path.chmod(0o640)
        return only(choose_passwords(fleet(SHOP=f"file:{path}"), ("shop",)))

    def test_a_new_password_lies_beside_the_present_one_and_takes_its_place_by_a_rename(
        self, kept: KeptPassword
    ) -> None:
        path = Path(kept.place.name)
        keeping.prepare(kept, {})
        assert path.read_text() == "first\n"
        new = keeping.prepared(kept, {})
        assert new is not None
        assert (new.slot, len(new.secret.reveal()) > 40) == ("b", True)
        beside = Path(kept.next_place.name)
        assert beside.stat().st_mode & 0o777 == 0o640
        inode = beside.stat().st_ino
        keeping.switch(kept, {})
        assert (path.stat().st_ino, keeping.present(kept, {})) == (inode, new)
        assert keeping.prepared(kept, {}) is None
        keeping.prepare(kept, {})
        assert MARK not in Path(kept.next_place.name).read_text()

    def test_a_link_stays_a_link(self, kept: KeptPassword, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(kept.place.name)
        linked = only(choose_passwords(fleet(SHOP=f"file:{link}"), ("shop",)))
        keeping.prepare(linked, {})
        keeping.switch(linked, {})
        assert link.is_symlink()
        assert keeping.present(kept, {}).slot == "b"

    @pytest.mark.parametrize(
        ("environ", "said"),
        [
            ({"SHOP": "p", "SHOP_NEXT": "new"}, f"`{MARK}` and a new password"),
            ({"SHOP": f"{MARK}p", "SHOP_NEXT": f"{MARK}new"}, f"without `{MARK}` in front"),
            ({"SHOP": "p", "SHOP_NEXT": f"{MARK}p"}, f"`{MARK}` and a new password"),
        ],
    )
    def test_a_supplied_password_must_be_a_new_one_of_the_other_user(
        self, environ: Mapping[str, str], said: str
    ) -> None:
        with pytest.raises(UsageError) as refused:
            keeping.prepared(only(choose_passwords(fleet(), ("shop",))), environ)
        assert said in (refused.value.hint or "")

    def test_what_fleet_cannot_write_is_switched_by_the_operator(self) -> None:
        kept = only(choose_passwords(fleet(), ("shop",)))
        with pytest.raises(UsageError, match="`env:SHOP_NEXT`"):
            keeping.require_writable(kept, {"SHOP": "p"})
        environ = {"SHOP": "p", "SHOP_NEXT": f"{MARK}new"}
        with pytest.raises(PartlyDone, match=r"user shop\+b is there"):
            keeping.switch(kept, environ)
        assert keeping.prepared(kept, environ | {"SHOP": f"{MARK}new"}) is None


def test_accounts_that_are_there_are_found_by_the_name_in_the_fleet_file() -> None:
    assert accounts_there(("celery", "shop"), {"celery+b", "other"}) == {"celery": ("celery+b",), "shop": ()}
