"""A host is brought to a desired state, kept there, and survives what goes wrong on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts import render
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.objects import (
    Directory,
    File,
    HostObject,
    Link,
    SystemUser,
    Tree,
    Unit,
    digest_of,
)
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.state import HostState
from tests.hosts.fixtures import WORKERS
from tests.hosts.lab import Host, Lab
from tests.hosts.lab.system import await_that
from tests.hosts.over_ssh import OverSsh
from tests.unit.provisioning.host_states import packed, tree

OPERATOR = Operator(name="tester", origin="control", reason="a test")
OTHER = Operator(name="other", origin="elsewhere")
SLEEPER = """\
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
FAILING = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo the wheel came off; exit 3'
"""
BIG = b"0123456789abcdef" * 65536


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Host:
    """One host for all tests of this module, each of which keeps to places of its own."""
    host = lab[WORKERS[1]]
    if not host.is_fresh:
        host.reset()
    lab.boot(host.name)
    return host


@pytest.fixture
def door(machine: Host) -> Iterator[HostDoor]:
    """A way to the host, on which nothing is ours after a test."""
    made = HostDoor(OverSsh(machine))
    yield made
    if not machine.is_on:
        machine.boot()
    assert bring(HostState(()), made).converged


def look(state: HostState, door: HostDoor) -> HostPlan:
    return plan(state, door.observe(state, contents=True))


def bring(state: HostState, door: HostDoor) -> Report:
    return apply(look(state, door), door, by=OPERATOR)


@pytest.fixture
def release(tmp_path: Path) -> Tree:
    """A release as an archive."""
    archive = tmp_path / "release.tar.gz"
    archive.write_bytes(packed({"bin/run": b"#!/bin/sh\n", "lib/deep/module.py": b"x = 1\n"}))
    return tree("/opt/trial/releases/1-abc", archive)


def everything(release: Tree, *, setting: bytes = b"level = 1\n") -> HostState:
    """Return a state with an object of each kind."""
    depends: tuple[File | Link | Tree, ...] = (
        File(path="/etc/trial/settings", content=setting, group="trial", mode=0o640),
        File(path="/etc/trial/password", content=b"hush hush", group="trial", mode=0o640, secret=True),
        File(path="/etc/systemd/system/trial.service", content=SLEEPER.encode()),
    )
    objects: tuple[HostObject, ...] = (
        SystemUser(name="trial", home="/var/lib/trial", groups=("adm",)),
        Directory(path="/etc/trial", group="trial", mode=0o750),
        Directory(path="/var/lib/trial", owner="trial", group="trial", mode=0o700),
        Directory(path="/opt/trial"),
        Directory(path="/opt/trial/releases"),
        Link(path="/opt/trial/current", target="releases/1-abc"),
        release,
        Unit(name="trial.service", restart_on=digest_of(*depends)),
    )
    return HostState((*objects, *depends))


def started(machine: Host, unit: str = "trial.service") -> str:
    return machine.console("systemctl", "show", "-P", "MainPID", unit).strip()


def test_every_kind_of_object_is_made_kept_and_pruned(machine: Host, door: HostDoor, release: Tree) -> None:
    state = everything(release)
    report = bring(state, door)
    assert render.report_text(door.name, report) == ""
    assert report.converged
    assert look(state, door).changes == ()
    stat = machine.console("stat", "-c", "%U %G %a", "/etc/trial", "/etc/trial/password", "/var/lib/trial")
    assert stat.splitlines() == ["root trial 750", "root trial 640", "trial trial 700"]
    assert machine.read("/opt/trial/current/lib/deep/module.py") == b"x = 1\n"
    assert "trial" in machine.console("id", "-nG", "trial").split()
    assert machine.console("systemctl", "is-active", "trial.service").strip() == "active"
    assert machine.console("systemctl", "is-enabled", "trial.service").strip() == "enabled"

    first = started(machine)
    changed = everything(release, setting=b"level = 2\n")
    planned = look(changed, door)
    assert [c.resource.label for c in planned.changes] == ["file /etc/trial/settings", "unit trial.service"]
    assert apply(planned, door, by=OPERATOR).converged
    assert started(machine) != first

    # What somebody else put there stays, and so does the directory that holds it.
    machine.put("/etc/trial/by-hand", "mine")
    report = bring(HostState(()), door)
    assert report.converged
    assert report.notes == ("directory /etc/trial is kept: it holds something that is not ours",)
    assert machine.console("ls", "-A", "/etc/trial").split() == ["by-hand"]
    assert "trial" not in machine.console("ls", "/opt").split()
    assert "could not be found" in machine.console("sh", "-c", "systemctl status trial.service 2>&1 || true")
    assert machine.console("getent", "passwd", "trial").startswith("trial:")
    assert "hush" not in machine.console("cat", "/var/log/fleet/audit.jsonl")


def test_what_was_changed_by_hand_is_seen_and_put_back(machine: Host, door: HostDoor, release: Tree) -> None:
    state = everything(release)
    assert bring(state, door).converged
    machine.console("sh", "-c", "echo 'level = 9' >> /etc/trial/settings")
    machine.console("sh", "-c", "echo other > /etc/trial/password")
    machine.console("chmod", "0777", "/etc/trial")
    machine.console("chown", "daemon:", "/var/lib/trial")
    machine.console("ln", "-sfn", "/tmp", "/opt/trial/current")
    machine.console("sh", "-c", "echo 'y = 2' >> /opt/trial/releases/1-abc/lib/deep/module.py")
    machine.console("systemctl", "disable", "--now", "trial.service")
    planned = look(state, door)
    shown = render.text(planned, with_diff=True)
    assert "-level = 9" in shown
    assert "mode  0777 → 0750" in shown
    assert "owner  daemon → trial" in shown
    assert "target  /tmp → releases/1-abc" in shown
    assert "archive  touched since it was put there" in shown
    assert "content  differs: will be set from the desired state" in shown
    assert "hush" not in shown
    assert "other" not in shown
    assert apply(planned, door, by=OPERATOR).converged
    assert machine.read("/etc/trial/settings") == b"level = 1\n"
    assert machine.read("/etc/trial/password") == b"hush hush"
    assert machine.read("/opt/trial/releases/1-abc/lib/deep/module.py") == b"x = 1\n"
    assert machine.console("systemctl", "is-active", "trial.service").strip() == "active"


def test_a_unit_that_does_not_start_fails_with_the_end_of_its_journal(machine: Host, door: HostDoor) -> None:
    state = HostState(
        (
            File(path="/etc/systemd/system/wheel.service", content=FAILING.encode()),
            Unit(name="wheel.service", enabled=None),
            Unit(name="zebra.service", enabled=None, active=False),
        )
    )
    report = bring(state, door)
    assert report.error is not None
    assert "the wheel came off" in str(report.error)
    assert [change.resource.label for change in report.done] == ["file /etc/systemd/system/wheel.service"]
    assert [change.resource.label for change in report.failed] == ["unit wheel.service"]
    assert [change.resource.label for change in report.skipped] == ["unit zebra.service"]
    assert not report.converged
    assert door.audit()[-1].failed == "create unit wheel.service"


def test_a_full_disk_leaves_the_old_file(machine: Host, door: HostDoor) -> None:
    machine.console("mkdir", "-p", "/mnt/small")
    machine.console("mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "tmpfs", "/mnt/small")
    small = HostState((File(path="/mnt/small/data", content=b"old"),))
    assert bring(small, door).converged
    report = bring(HostState((File(path="/mnt/small/data", content=BIG),)), door)
    assert "No space left on device" in str(report.error)
    assert machine.console("ls", "-A", "/mnt/small").split() == ["data"]
    assert machine.read("/mnt/small/data") == b"old"
    assert look(small, door).changes == ()


def test_a_host_that_loses_power_half_way_is_finished_by_the_next_run(machine: Host, door: HostDoor) -> None:
    state = HostState(
        (File(path="/srv/a-first", content=b"a" * 40000), File(path="/srv/b-second", content=BIG))
    )

    def lose_power() -> None:
        await_that(
            lambda: machine.console("ls", "/srv").split() == ["a-first"],
            "the first file should be there",
            timeout_seconds=20,
        )
        machine.power_off()
        raise errors.HostUnreachable("the power went")

    planned = look(state, door)
    report = apply(planned, HostDoor(OverSsh(machine, half_way=lose_power)), by=OPERATOR)
    assert not report.converged
    assert report.left is None
    assert machine.read("/srv/a-first") == b"a" * 40000
    machine.boot()
    assert [c.resource.label for c in look(state, door).changes] == ["file /srv/b-second"]
    assert bring(state, door).converged
    assert machine.console("ls", "-A", "/srv").split() == ["a-first", "b-second"]


def test_of_two_operators_at_once_the_second_is_told_who_is_the_first(machine: Host, door: HostDoor) -> None:
    state = HostState((File(path="/srv/big", content=BIG),))
    other = HostDoor(OverSsh(machine))
    said: list[str] = []

    def interleave() -> None:
        await_that(lambda: _is_at_it(machine), "the first apply should hold the lock", timeout_seconds=20)
        with pytest.raises(errors.HostBusy) as caught:
            apply(look(state, other), other, by=OTHER)
        said.append(str(caught.value))

    report = apply(look(state, door), HostDoor(OverSsh(machine, half_way=interleave)), by=OPERATOR)
    assert report.converged
    assert "`tester@control` has been changing it for" in said[0]


def _is_at_it(machine: Host) -> bool:
    return ".big.fleet-new" in machine.console("ls", "-A", "/srv")


def test_a_host_that_changed_after_the_plan_is_left_alone(machine: Host, door: HostDoor) -> None:
    state = HostState((File(path="/srv/one", content=b"1"), File(path="/srv/two", content=b"2")))
    assert bring(state, door).converged
    changed = HostState((File(path="/srv/one", content=b"1"), File(path="/srv/two", content=b"3")))
    planned = look(changed, door)
    machine.console("chmod", "0600", "/srv/one")
    with pytest.raises(errors.WorldMoved, match="file /srv/one changed"):
        apply(planned, door, by=OPERATOR)
    assert machine.read("/srv/two") == b"2"


def test_nothing_is_written_through_a_link_or_where_others_may_write(machine: Host, door: HostDoor) -> None:
    machine.console("mkdir", "-p", "/srv/target")
    machine.console("ln", "-sfn", "/srv/target", "/srv/way")
    through = HostState((File(path="/srv/way/file", content=b"x"),))
    planned = look(through, door)
    assert "cannot be done here: `/srv/way` is a link" in render.text(planned)
    with pytest.raises(errors.Unsupported, match="`/srv/way` is a link"):
        apply(planned, door, by=OPERATOR)
    in_place = HostState((File(path="/srv/way", content=b"x"),))
    with pytest.raises(errors.DestructionRefused, match="a link stands there"):
        bring(in_place, door)
    report = apply(look(in_place, door), door, by=OPERATOR, allow_destructive=True)
    assert report.converged
    assert machine.console("ls", "-A", "/srv/target").strip() == ""
    shared = bring(HostState((File(path="/tmp/fleet-file", content=b"x"),)), door)
    assert "`/tmp` is open to everybody" in str(shared.error)
    theirs = HostState((SystemUser(name="trial", home="/var/lib/trial"), *_in_home_of("trial")))
    assert "belongs to user" in str(bring(theirs, door).error)


def _in_home_of(user: str) -> tuple[HostObject, ...]:
    home = f"/srv/{user}"
    return (
        Directory(path=home, owner=user, group=user, mode=0o700),
        File(path=f"{home}/file", content=b"x"),
    )


def test_anybody_may_read_what_was_done(machine: Host, door: HostDoor) -> None:
    state = HostState((File(path="/srv/logged", content=b"x"),))
    assert bring(state, door).converged
    last = door.audit(1)[0]
    assert (last.who, last.origin, last.reason) == ("tester@control", "control", "a test")
    assert last.done == ("create file /srv/logged",)
    assert last.failed is None
    assert last.login == "root"
    assert last.address
    as_nobody = ("runuser", "-u", "nobody", "--", "tail", "-n", "1", "/var/log/fleet/audit.jsonl")
    assert "create file /srv/logged" in machine.console(*as_nobody)


def test_a_looked_at_host_is_unchanged(machine: Host, door: HostDoor, release: Tree) -> None:
    state = everything(release)
    listed = ("ls", "-AlR", "--time-style=full-iso", "/etc", "/opt", "/srv", "/var/lib/fleet-provision")
    before = machine.console(*listed)
    assert look(state, door).changes
    assert machine.console(*listed) == before
