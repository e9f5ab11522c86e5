"""Who gets what, and never more."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config.parse import parse
from fleet.errors import UsageError
from fleet.hosts.bundle import Directory, File, Link, Record, SystemUser, Unit, bundle
from fleet.hosts.hostfile import host_file, host_fleet
from fleet.hosts.units import Instance
from fleet.model import Fleet
from tests.unit.config.documents import Document, documents, to_toml
from tests.unit.hosts.fleets import ENVIRON, RELEASE, material, office, office_with_clock


def records_of(fleet: Fleet, host: str) -> tuple[Record, ...]:
    return bundle(fleet, host, RELEASE, material(fleet, host))


def credentials(records: tuple[Record, ...]) -> dict[str, str]:
    return {
        record.path.removeprefix("/etc/fleet/credentials/"): record.content.decode()
        for record in records
        if isinstance(record, File) and record.secret
    }


def everything(records: tuple[Record, ...]) -> str:
    contents = [record.content.decode() for record in records if isinstance(record, File)]
    return "\n".join([*contents, *map(repr, records)])


def test_a_host_gets_the_secrets_of_what_runs_there_and_no_others() -> None:
    fleet = office()
    assert credentials(records_of(fleet, "alpha")) == {
        # Beat, which runs there, sends to all hosts.
        "broker-password": "main-secret",
        "host-password-alpha": "alpha-secret",
        "smtp-password": "smtp-secret",
    }
    assert credentials(records_of(fleet, "beta")) == {"host-password-beta": "beta-secret"}


def test_where_beat_has_a_user_of_its_own_the_fleets_password_is_on_no_host() -> None:
    fleet = office_with_clock()
    assert credentials(records_of(fleet, "alpha")) == {
        "scheduler-password": "clock-secret",
        "host-password-alpha": "alpha-secret",
        "smtp-password": "smtp-secret",
    }
    assert credentials(records_of(fleet, "beta")) == {"host-password-beta": "beta-secret"}
    for host in ("alpha", "beta"):
        assert "main-secret" not in everything(records_of(fleet, host))


def test_beats_unit_loads_the_schedulers_password_and_no_worker_does() -> None:
    for fleet, loaded in ((office(), "broker-password"), (office_with_clock(), "scheduler-password")):
        units = {
            record.path.rpartition("/")[2]: record.content.decode()
            for record in records_of(fleet, "alpha")
            if isinstance(record, File) and record.path.startswith("/etc/systemd/")
        }
        lines = [line for line in units["fleet-beat.service"].splitlines() if "LoadCredential" in line]
        assert lines == [f"LoadCredential={loaded}:/etc/fleet/credentials/{loaded}"]
        assert [name for name, text in units.items() if loaded in text] == ["fleet-beat.service"]


def test_a_hosts_file_names_beats_user_and_no_other() -> None:
    declared = tomllib.loads(host_file(office_with_clock()))
    assert declared["broker"]["users"] == {
        "clock": {"role": "scheduler", "password": "credential:scheduler-password"}
    }


def test_a_fleet_file_that_was_made_for_all_hosts_is_the_one_that_each_would_get() -> None:
    fleet = office()
    shared = host_file(fleet).encode()
    for host in fleet.hosts:
        given_along = replace(material(fleet, host.name), fleet_file=shared)
        assert bundle(fleet, host.name, RELEASE, given_along) == records_of(fleet, host.name)


def test_workers_run_on_the_hosts_that_their_patterns_mean() -> None:
    fleet = office()
    for worker in fleet.workers:
        meant = {host.name for host in fleet.hosts_for(worker.hosts)}
        assert {host.name for host in fleet.hosts if worker in fleet.workers_on(host.name)} == meant
    assert fleet.workers_on("absent") == ()


def test_secrets_are_roots_alone_and_never_shown() -> None:
    records = records_of(office(), "alpha")
    secret = [record for record in records if isinstance(record, File) and record.secret]
    assert {(record.owner, record.mode) for record in secret} == {("root", 0o400)}
    assert not [value for value in ENVIRON.values() if value in "\n".join(map(repr, records))]


@given(st.lists(st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), min_size=2, max_size=6, unique=True))
def test_no_host_ever_gets_another_hosts_password(names: list[str]) -> None:
    hosts = "".join(f"[hosts.{name}]\n" for name in names if name != "dlq")
    text = (
        '[fleet]\nname = "f"\ntimezone = "UTC"\n[broker]\nurl = "amqp://mq1"\npassword = "env:MAIN"\n'
        f'profile = "per-host"\nhost_password = "env:HOST_{{host}}"\n{hosts}[hosts.zzlast]\n'
    )
    fleet = parse(text, source="/x/fleet.toml")
    passwords = {host.name: f"<{host.name}'s own>" for host in fleet.hosts}
    environ = {"MAIN": "<main>"} | {f"HOST_{name}": value for name, value in passwords.items()}
    for host in fleet.hosts:
        held = everything(bundle(fleet, host.name, RELEASE, material(fleet, host.name, environ=environ)))
        assert passwords[host.name] in held
        assert not [name for name, value in passwords.items() if name != host.name and value in held]
        # Without a schedule there is no beat, so the fleet's own user is nobody's.
        assert "<main>" not in held


@given(documents())
def test_a_hosts_file_declares_the_fleet_as_hosts_know_it(document: Document) -> None:
    fleet = parse(to_toml(document), source="fleet.toml")
    text = host_file(fleet)
    assert parse(text, source="/etc/fleet/fleet.toml") == host_fleet(fleet)
    assert host_file(fleet) == text


def test_a_hosts_file_neither_holds_secrets_nor_says_how_to_administer_the_broker() -> None:
    text = host_file(office())
    declared = tomllib.loads(text)
    assert declared["broker"]["password"] == "credential:broker-password"
    assert declared["hosts"]["beta"]["password"] == "credential:host-password-beta"
    assert not {"management", "users", "rabbitmqctl", "password_hash"} & declared["broker"].keys()
    assert not [value for value in ENVIRON.values() if value in text]
    assert "env:" not in text


def test_the_same_fleet_gives_the_same_bytes() -> None:
    assert records_of(office(), "alpha") == records_of(office(), "alpha")


def test_what_is_needed_comes_before_what_needs_it() -> None:
    records = records_of(office(), "alpha")
    kinds = [type(record) for record in records]
    assert kinds[0] is SystemUser
    assert kinds[-1] is Unit
    # A release, which is there first, brings /opt/fleet along.
    made: set[str] = {
        "/etc",
        "/opt/fleet",
        f"/opt/fleet/releases/{RELEASE}",
        "/usr/local/bin",
        "/etc/systemd/system",
    }
    for record in records:
        if isinstance(record, File | Link):
            assert record.path.rpartition("/")[0] in made, record.path
        elif isinstance(record, Directory):
            made.add(record.path)


def test_a_backups_places_are_the_workers_own() -> None:
    made = {record.path: record for record in records_of(office(), "alpha") if isinstance(record, Directory)}
    for place in ("/mnt/copies", "/srv/back"):
        assert (made[place].owner, made[place].mode) == ("fleet", 0o700)
    assert "/srv/copies" not in made


def test_in_a_rollout_both_instances_have_a_unit_and_only_the_new_one_is_enabled() -> None:
    fleet = office()
    here = (
        Instance(worker="mail", slot="a", release="1.0.0-old", active=False),
        Instance(worker="mail", slot="b", release=RELEASE),
    )
    records = bundle(fleet, "alpha", RELEASE, material(fleet, "alpha"), instances=here)
    units = {record.name: record for record in records if isinstance(record, Unit)}
    old, new = units["fleet-worker@mail-a.service"], units["fleet-worker@mail-b.service"]
    assert (old.enabled, old.active) == (False, None)
    assert (new.enabled, new.active) == (True, True)
    texts = {record.path: record.content.decode() for record in records if isinstance(record, File)}
    assert "/releases/1.0.0-old/bin/fleet" in texts["/etc/systemd/system/fleet-worker@mail-a.service"]
    assert f"/releases/{RELEASE}/bin/fleet" in texts["/etc/systemd/system/fleet-worker@mail-b.service"]


def test_a_host_or_worker_that_is_not_there_is_said() -> None:
    fleet = office()
    with pytest.raises(UsageError, match="no host `gamma`"):
        bundle(fleet, "gamma", RELEASE, material(fleet, "alpha"))
    here = (Instance(worker="plain", slot="a", release=RELEASE),)
    with pytest.raises(UsageError, match="`plain` does not run on host `alpha`"):
        bundle(fleet, "alpha", RELEASE, material(fleet, "alpha"), instances=here)


def test_a_state_directory_elsewhere_is_made_and_writable() -> None:
    fleet = replace(office(), state_dir="/data/fleet")
    records = records_of(fleet, "beta")
    assert Directory(path="/data/fleet", owner="fleet", group="fleet", mode=0o700) in records
    texts = [r.content.decode() for r in records if isinstance(r, File) and "worker@plain" in r.path]
    assert "ReadWritePaths=/data/fleet\n" in texts[0]
    assert "StateDirectory=" not in texts[0]
