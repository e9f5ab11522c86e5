"""What a host has again when a new instance does not get ready."""

from fleet.hosts.paths import CURRENT, release_directory
from fleet.hosts.units import BEAT, unit_file
from fleet.ops.put_back import state_before
from provisioning.hosts.objects import File, HostObject, Link, Unit
from provisioning.hosts.observation import HostObservation
from provisioning.hosts.planning import plan
from provisioning.hosts.state import HostState
from provisioning.plan import Change


def with_beat(release: str, *, active: bool = True) -> tuple[HostObject, ...]:
    """Return a host whose beat was last started from ``release``."""
    return (
        Link(path=CURRENT, target=release_directory(release), ours=True),
        File(path=unit_file(BEAT), content=release.encode(), ours=True),
        Unit(name=BEAT, active=active, restart_on=release),
    )


def put_back(*, found: tuple[HostObject, ...]) -> dict[str, Change]:
    """Return what is changed, by its kind, on a host where ``found`` stands and release `old` was current."""
    known = {thing.identity: thing for thing in with_beat("old")}
    back = state_before(HostState(with_beat("new")), known)
    assert back is not None
    seen = HostObservation(host="alpha", objects=found, blocked={}, fingerprint="", free_bytes={})
    return {type(change.resource).__name__: change for change in plan(back, seen).changes}


def test_beat_that_was_restarted_with_the_new_release_is_restarted_with_the_old_one() -> None:
    changes = put_back(found=with_beat("new"))
    assert set(changes) == {"Link", "File", "Unit"}
    assert [diff.name for diff in changes["Unit"].fields] == ["files"]


def test_beat_that_did_not_start_with_the_new_release_is_started_with_the_old_one() -> None:
    changes = put_back(found=with_beat("new", active=False))
    assert "active" in {diff.name for diff in changes["Unit"].fields}


def test_beat_that_was_not_come_to_goes_on() -> None:
    link, file, _ = with_beat("new")
    changes = put_back(found=(link, file, with_beat("old")[2]))
    assert set(changes) == {"Link", "File"}
