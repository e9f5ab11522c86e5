"""What an instance leaves on a host when it ends."""

from dataclasses import replace

import pytest

from fleet.hosts.units import unit_file, worker_unit
from fleet.ops.host_change import HostChange
from provisioning.hosts.objects import File, HostObject, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.state import HostState

OLD = worker_unit("mail", "a")
ENDED = Unit(name=OLD, enabled=False, active=False)
ITS_FILE = File(path=unit_file(OLD), content=b"old", ours=True)
CREDENTIAL = File(path="/etc/fleet/credentials/mail", content=b"old", ours=True)


def change(*found: HostObject, wanted: tuple[HostObject, ...] = ()) -> HostChange:
    seen = HostObservation(host="alpha", objects=found, blocked={}, fingerprint="", free_bytes={})
    return HostChange(release="1-a", begin=plan(HostState(wanted), seen))


def test_an_instance_that_has_ended_leaves_its_unit_and_the_file_of_that() -> None:
    found = change(ENDED, ITS_FILE)
    assert len(found.begin.changes) == 2
    assert found.only_clears
    assert not found.is_empty
    assert found.clears == (OLD,)
    assert change().only_clears


def test_one_that_would_run_again_is_not_told_as_ended() -> None:
    assert change(replace(ENDED, enabled=True), ITS_FILE).clears == ()


def test_who_keeps_hosts_as_they_should_be_finds_nothing_to_do_there() -> None:
    put_off = change(ENDED, ITS_FILE).put_off()
    assert put_off.is_empty
    assert put_off.begin.changes == ()
    assert put_off.notes == (f"{OLD} has ended, and what it left goes with the next change",)


@pytest.mark.parametrize(
    "more",
    [
        change(replace(ENDED, active=True), ITS_FILE),
        change(replace(ENDED, active=None), ITS_FILE),
        change(replace(ENDED, ending=True), ITS_FILE),
        # It would run again with the host's next boot.
        change(replace(ENDED, enabled=True), ITS_FILE),
        change(replace(ENDED, name="fleet-beat.service"), ITS_FILE),
        change(ENDED, replace(ITS_FILE, path="/etc/systemd/system/fleet-beat.service")),
        change(ENDED, ITS_FILE, CREDENTIAL),
        change(ENDED, ITS_FILE, wanted=(CREDENTIAL,)),
        replace(change(ENDED, ITS_FILE), ends=(OLD,)),
    ],
)
def test_whatever_else_changes_is_more_than_that(more: HostChange) -> None:
    assert not more.only_clears
