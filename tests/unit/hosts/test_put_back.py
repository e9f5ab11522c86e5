"""What a host has again when a new instance does not get ready."""

from dataclasses import replace

from fleet.hosts.paths import CURRENT, DRAINED, release_directory
from fleet.hosts.units import BEAT, TARGET, unit_file
from fleet.ops.put_back import beside_others, is_drained_now, state_before
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


def test_what_others_have_stopped_is_not_started() -> None:
    target = Unit(name=TARGET, enabled=True, active=None)
    known = {thing.identity: thing for thing in (*with_beat("old"), replace(target, active=False))}
    back = state_before(HostState((*with_beat("new"), target)), known)
    assert back is not None
    assert Unit(name=TARGET, enabled=None, active=None) in tuple(back)


def stood(name: str, text: str, *, enabled: bool) -> tuple[HostObject, ...]:
    """Return a unit that does not run, and its file, as they were seen."""
    return (
        File(path=unit_file(name), digest=text, ours=True),
        Unit(name=name, enabled=enabled, active=False),
    )


def beside(before: tuple[HostObject, ...], now: tuple[HostObject, ...]) -> dict[object, HostObject]:
    """Return what is put back beside beat, where ``before`` was seen and ``now`` stands."""
    back = HostState(with_beat("old"))
    was = {thing.identity: thing for thing in before}
    found = {thing.identity: thing for thing in now}
    return {thing.identity: thing for thing in beside_others(back, was, found)}


def test_a_target_that_was_stopped_stays_and_what_goes_on_is_not_stopped_with_it() -> None:
    file, running = File(path=unit_file(TARGET), digest="new", ours=True), Unit(name=TARGET, active=True)
    back = beside(stood(TARGET, "old", enabled=True), (file, running))
    assert back["path", unit_file(TARGET)] == file
    assert back["unit", TARGET] == Unit(name=TARGET, enabled=None, active=None)


def test_a_worker_that_was_stopped_and_has_its_files_still_is_stopped_again() -> None:
    name = "fleet-worker@probe-a.service"
    file, *_ = stood(name, "same", enabled=True)
    back = beside(stood(name, "same", enabled=True), (file, Unit(name=name, enabled=True, active=True)))
    assert back["unit", name] == Unit(name=name, enabled=True, active=False)


def test_what_was_new_or_left_over_is_taken_away() -> None:
    name, left = "fleet-worker@probe-a.service", "fleet-worker@probe-b.service"
    now = (*stood(name, "new", enabled=True), *stood(left, "same", enabled=True))
    back = beside((*stood(name, "old", enabled=True), *stood(left, "same", enabled=False)), now)
    assert {("unit", name), ("unit", left)}.isdisjoint(back)


def test_a_host_that_was_drained_meanwhile_stays_so() -> None:
    mark = File(path=DRAINED, digest="by ann", ours=True)
    assert beside((), (mark,))["path", DRAINED] == mark
    seen = HostObservation(host="alpha", objects=(mark,), blocked={}, fingerprint="", free_bytes={})
    assert is_drained_now(HostState(with_beat("new")), seen)
    # Of a host that was drained before, it was planned with that.
    assert not is_drained_now(HostState((mark,)), seen)
