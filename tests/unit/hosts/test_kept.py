"""What a release ran with is kept without secrets, and brings the same state back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import FleetError, UsageError
from fleet.hosts.bundle import File, Record, bundle
from fleet.hosts.kept import Kept, KeptDirectory, KeptFile, dump, load, loaded
from fleet.hosts.paths import CLIENT_KEY, DRAINED, PREVIOUS, kept_file, release_directory
from fleet.hosts.restored import as_it_stands, as_released
from fleet.hosts.state import host_objects
from fleet.hosts.units import Instance, first_instances, worker_of_unit
from fleet.model import SLOTS
from provisioning.hosts.objects import File as SeenFile
from provisioning.hosts.objects import HostObject, Link, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.state import HostState
from provisioning.plan import Identity
from tests.unit.hosts.fleets import ENVIRON, RELEASE, material, office

OTHER = "2.0.0-other"


def records(release: str = RELEASE) -> tuple[Record, ...]:
    return bundle(office(), "alpha", release, material(office(), "alpha"))


def kept(release: str = RELEASE) -> Kept:
    (file,) = (
        each for each in records(release) if isinstance(each, File) and each.path == kept_file(release)
    )
    return load(file.content)


def declared(release: str, instances: tuple[Instance, ...]) -> tuple[HostObject, ...]:
    given = material(office(), "alpha")
    made = bundle(office(), "alpha", release, given, instances=instances)
    return host_objects(office(), "alpha", made, instances)


def as_seen(thing: HostObject) -> HostObject:
    """Return what a look at a host that has ``thing`` tells: no content, but its digest."""
    if isinstance(thing, SeenFile):
        return SeenFile(
            path=thing.path,
            owner=thing.owner,
            group=thing.group,
            mode=thing.mode,
            secret=thing.secret,
            digest=thing.digest,
            ours=True,
        )
    if isinstance(thing, Unit):
        return Unit(name=thing.name, enabled=thing.enabled, active=thing.active, restart_on=thing.restart_on)
    return thing


def host_with(objects: tuple[HostObject, ...]) -> dict[Identity, HostObject]:
    return {thing.identity: as_seen(thing) for thing in objects}


def observation(seen: dict[Identity, HostObject]) -> HostObservation:
    return HostObservation(
        host="alpha", objects=tuple(seen.values()), blocked={}, fingerprint="", free_bytes={}
    )


def test_no_secret_is_kept() -> None:
    (file,) = (each for each in records() if isinstance(each, File) and each.path == kept_file(RELEASE))
    assert not [value for value in ENVIRON.values() if value in file.content.decode()]


def test_a_release_comes_back_with_all_that_it_had() -> None:
    instances = first_instances(office(), "alpha", RELEASE)
    before = declared(RELEASE, instances)
    again = as_released("alpha", kept(), host_with(before), instances)
    changes = plan(HostState(again), observation(host_with(before))).changes
    assert [(change.action, change.resource.label) for change in changes] == []
    assert {thing.identity for thing in again} == {thing.identity for thing in before}


def test_a_release_whose_credential_is_gone_is_refused_by_name() -> None:
    instances = first_instances(office(), "alpha", RELEASE)
    seen = host_with(declared(RELEASE, instances))
    del seen["path", "/etc/fleet/credentials/smtp-password"]
    with pytest.raises(UsageError, match=r"needs `/etc/fleet/credentials/smtp-password`"):
        as_released("alpha", kept(), seen, instances)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_worker_that_starts_anew_is_as_the_fleet_file_wants_it(slot: str) -> None:
    running = first_instances(office(), "alpha", RELEASE)
    seen = host_with(declared(RELEASE, running))
    mine = tuple(Instance(worker=each.worker, slot=slot, release=RELEASE) for each in running)
    stands = {thing.identity: thing for thing in as_it_stands(kept(), seen, mine)}
    wanted = {thing.identity: thing for thing in declared(RELEASE, mine)}
    for identity, thing in wanted.items():
        if isinstance(thing, Unit) and worker_of_unit(thing.name):
            assert stands[identity] == thing
        elif isinstance(thing, SeenFile):
            assert stands[identity].differences(thing) == ()


def test_what_stands_is_left_and_what_is_said_apart_is_left_out() -> None:
    running = first_instances(office(), "alpha", RELEASE)
    apart = (Link(path=PREVIOUS, target=release_directory(OTHER)), SeenFile(path=DRAINED, content=b"{}"))
    seen = host_with((*declared(RELEASE, running), *apart))
    stands = as_it_stands(kept(), seen, running)
    assert not {each.identity for each in apart} & {thing.identity for thing in stands}
    changes = plan(HostState(stands), observation(seen)).changes
    assert {change.identity for change in changes} == {each.identity for each in apart}


texts = st.text(max_size=30)
paths = st.from_regex(r"/etc/fleet/[a-z]{1,8}", fullmatch=True)
keeps = st.builds(
    Kept,
    release=texts,
    workers=st.dictionaries(texts, st.fixed_dictionaries(dict.fromkeys(SLOTS, texts)), max_size=3),
    beat=st.none() | texts,
    directories=st.lists(
        st.builds(KeptDirectory, path=paths, owner=texts, group=texts, mode=st.integers(0, 0o7777))
    ).map(tuple),
    files=st.lists(
        st.builds(
            KeptFile,
            path=paths,
            content=st.binary(max_size=30).map(lambda raw: raw.decode(errors="surrogateescape")),
            owner=texts,
            group=texts,
            mode=st.integers(0, 0o7777),
        )
    ).map(tuple),
    certificates=st.lists(st.just(CLIENT_KEY), max_size=1).map(tuple),
)


@given(keeps)
def test_what_is_kept_is_read_as_it_was(made: Kept) -> None:
    assert load(dump(made)) == made


@given(st.binary(max_size=40) | keeps.map(lambda made: dump(made)[:-9]))
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(FleetError, match="record"):
        load(content)


def test_a_record_of_another_version_is_refused() -> None:
    content = json.dumps(json.loads(dump(kept())) | {"version": 2}).encode()
    with pytest.raises(FleetError, match="version 2"):
        load(content)


def test_the_credentials_of_a_unit_are_read_from_its_text() -> None:
    assert loaded(
        "[Service]\nLoadCredential=a:/x/a\nExecStart=/x LoadCredential=b\nLoadCredential=c:/y\n"
    ) == {
        "a",
        "c",
    }
