"""What a bundle means to provisioning, and what makes a unit out of date."""

from dataclasses import replace

from fleet.hosts.bundle import Material, bundle
from fleet.hosts.state import host_objects
from fleet.hosts.units import BEAT, first_instances
from fleet.model import Fleet
from fleet.secrets import Secret
from provisioning.hosts.objects import Unit
from provisioning.hosts.state import HostState
from tests.unit.hosts.fleets import RELEASE, material, office, office_with_clock


def digests(fleet: Fleet, given: Material, *, release: str = RELEASE) -> dict[str, str]:
    instances = first_instances(fleet, "alpha", release)
    records = bundle(fleet, "alpha", release, given, instances=instances)
    objects = host_objects(fleet, "alpha", records, instances)
    assert len(tuple(HostState(objects))) == len(records)
    return {thing.name: thing.restart_on for thing in objects if isinstance(thing, Unit)}


def test_every_worker_and_beat_are_out_of_date_with_another_release_and_the_target_never() -> None:
    fleet = office()
    before = digests(fleet, material(fleet, "alpha"))
    after = digests(fleet, material(fleet, "alpha"), release="2.0.0-other")
    same = {name for name in before if before[name] == after[name]}
    assert same == {"fleet.target"}
    assert BEAT in before


def test_a_changed_credential_concerns_those_that_load_it() -> None:
    fleet, given = office(), material(office(), "alpha")
    before = digests(fleet, given)
    changed = replace(given, secrets={**given.secrets, "smtp-password": Secret("another")})
    after = digests(fleet, changed)
    assert {name for name in before if before[name] != after[name]} == {"fleet-worker@mail-a.service"}


def test_a_new_password_of_the_scheduler_concerns_beat_alone() -> None:
    fleet, given = office_with_clock(), material(office_with_clock(), "alpha")
    before = digests(fleet, given)
    after = digests(fleet, replace(given, secrets={**given.secrets, "scheduler-password": Secret("another")}))
    assert {name for name in before if before[name] != after[name]} == {BEAT}


def test_the_same_fleet_gives_the_same_digests() -> None:
    fleet = office()
    assert digests(fleet, material(fleet, "alpha")) == digests(fleet, material(fleet, "alpha"))
