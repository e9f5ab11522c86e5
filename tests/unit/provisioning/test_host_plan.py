"""What a host's state may be, what its plan says, and how that looks."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts import render
from provisioning.hosts.agent.look import fingerprint
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.objects import (
    Directory,
    File,
    HostObject,
    Link,
    OnChange,
    SpecialFile,
    SystemUser,
    Tree,
    Unit,
    digest_of,
)
from provisioning.hosts.observation import HostObservation, read
from provisioning.hosts.planning import HostPlan, plan
from provisioning.hosts.runner import Ran
from provisioning.hosts.state import HostState
from provisioning.hosts.steps import contents, steps

OPERATOR = Operator(name="tester", origin="control")

EXPECTED = """\
h1
  + user fleet
      home    /var/lib/fleet
      shell   /usr/sbin/nologin
      groups  ["adm"]
  ~ directory /etc/fleet
      mode  0755 → 0750
  ~ file /etc/fleet/fleet.toml
      content  sha256:37a096ca0673 → sha256:a16f6bf42c84
      --- /etc/fleet/fleet.toml
      +++ /etc/fleet/fleet.toml
      @@ -1,2 +1,2 @@
       [fleet]
      -level  = 1
      +level = "\\x1b"
  ~ file /etc/fleet/password
      content  differs: will be set from the desired state
      mode     0644 → 0640
  ~ link /opt/fleet/current
      target  releases/1 → releases/2
  ~ unit fleet.service
      enabled  false → true
      files    as it was started → changed
  - unit old.service
  - file /etc/fleet/old
  plan: 1 to create, 5 to update, 2 to delete"""


def seen(*objects: HostObject, free: Mapping[str, int] | None = None) -> HostObservation:
    return HostObservation(host="h1", objects=objects, blocked={}, fingerprint="f", free_bytes=free or {})


def drifted() -> HostPlan:
    """Return a plan with one change of every kind."""
    actual = seen(
        Directory(path="/etc/fleet"),
        File(path="/etc/fleet/fleet.toml", content=b"[fleet]\nlevel\t= 1\n"),
        File(path="/etc/fleet/password", digest="0" * 64),
        File(path="/etc/fleet/old", digest="1" * 64, ours=True),
        Link(path="/opt/fleet/current", target="releases/1"),
        Unit(name="fleet.service", enabled=False, restart_on="before"),
        Unit(name="old.service"),
    )
    desired = HostState(
        (
            SystemUser(name="fleet", home="/var/lib/fleet", groups=("adm",)),
            Directory(path="/etc/fleet", mode=0o750),
            File(path="/etc/fleet/fleet.toml", content=b'[fleet]\nlevel = "\x1b"\n'),
            File(path="/etc/fleet/password", content=b"hush", mode=0o640, secret=True),
            Link(path="/opt/fleet/current", target="releases/2"),
            Unit(name="fleet.service", restart_on="after"),
        )
    )
    return plan(desired, actual)


def test_a_plan_stands_below_the_name_of_its_host() -> None:
    assert render.text(drifted(), with_diff=True) == EXPECTED


def test_a_host_that_is_as_desired_takes_one_line() -> None:
    assert render.text(plan(HostState(()), seen())) == "h1: as desired"


def test_a_record_holds_the_diff_only_when_asked_and_never_a_secret() -> None:
    plain, full = render.record(drifted()), render.record(drifted(), with_diff=True)
    assert '"diff"' not in json.dumps(plain)
    changes = full["changes"]
    assert isinstance(changes, list)
    with_diff = [change["object"] for change in changes if "diff" in change]
    assert with_diff == ["file /etc/fleet/fleet.toml"]
    assert "hush" not in json.dumps(full)
    secret = next(change for change in changes if change["object"] == "file /etc/fleet/password")
    assert secret["fields"][0] == {"name": "content", "secret": True}


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        (File(path="relative", content=b""), "no absolute path"),
        (File(path="/a/../etc/passwd", content=b""), "no absolute path"),
        (File(path="//a", content=b""), "no absolute path"),
        (File(path="/a\nb", content=b""), "no absolute path"),
        (Directory(path="/"), "no absolute path"),
        (File(path="/a"), "has no content"),
        (Tree(path="/a", digest="0"), "has no archive"),
        (Directory(path="/a", mode=0o10000), "impossible mode"),
        (File(path="/a", content=b"", secret=True), "is secret and would be open to everybody"),
        (File(path="/var/lib/fleet-provision/fleet.json", content=b""), "keeps its own records"),
        (SystemUser(name="-rf", home="/"), "no name for a user"),
        (SystemUser(name="root", home="/root"), "no name for a user"),
        (SystemUser(name="a", home="/x", groups=("b,c",)), "no name for a group"),
        (SystemUser(name="a", home="x"), "no absolute path"),
        (Unit(name="--now.service"), "no name of a unit"),
        (Unit(name="fleet"), "no name of a unit"),
    ],
)
def test_a_state_that_cannot_be_meant_is_refused(thing: HostObject, problem: str) -> None:
    with pytest.raises(errors.MalformedState, match=problem):
        HostState((thing,))


def test_what_is_declared_twice_is_refused_whatever_its_kind() -> None:
    with pytest.raises(errors.MalformedState, match="`/a` is declared twice"):
        HostState((File(path="/a", content=b""), Link(path="/a", target="b")))


@pytest.mark.parametrize("owner", ["", "Fleet", "../fleet", "a b"])
def test_an_owner_that_is_no_file_name_is_refused(owner: str) -> None:
    with pytest.raises(errors.MalformedState, match="no name for an owner"):
        HostState((), owner=owner)


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("kind", [Link, SpecialFile])
def test_what_others_put_in_the_way_goes_only_when_that_is_allowed(
    kind: Callable[..., HostObject], *, ours: bool
) -> None:
    there = kind(path="/srv/x", ours=ours, **({"target": "y"} if kind is Link else {}))
    planned = plan(HostState((File(path="/srv/x", content=b""),)), seen(there))
    assert bool(planned.plan.losses) is not ours
    assert [field.name for field in planned.changes[0].fields] == ["type"]


def test_a_directory_never_makes_way_for_a_tree_unasked(tmp_path: Path) -> None:
    wanted = Tree(path="/opt/x", digest="0" * 64, archive=tmp_path)
    planned = plan(HostState((wanted,)), seen(Directory(path="/opt/x", ours=True)))
    assert [str(loss.what) for loss in planned.plan.losses.values()] == ["data"]


def test_users_are_never_pruned_and_may_have_more_groups() -> None:
    there = SystemUser(name="fleet", home="/x", groups=("adm", "backup"))
    assert plan(HostState(()), seen(there)).changes == ()
    wanted = SystemUser(name="fleet", home="/x", groups=("backup",))
    assert plan(HostState((wanted,)), seen(there)).changes == ()


@pytest.mark.parametrize(
    ("wanted", "there", "files"),
    [
        (Unit(name="a.service", restart_on="2"), Unit(name="a.service", restart_on="1"), "restart"),
        (
            Unit(name="a.service", restart_on="2", on_change=OnChange.RELOAD),
            Unit(name="a.service", restart_on="1"),
            "reload",
        ),
        (
            Unit(name="a.service", restart_on="2"),
            Unit(name="a.service", active=False, restart_on="1"),
            None,
        ),
        (Unit(name="a.service"), Unit(name="a.service", enabled=False, restart_on="1"), None),
    ],
)
def test_a_unit_is_restarted_or_reloaded_when_it_runs_with_older_files(
    wanted: Unit, there: Unit, files: str | None
) -> None:
    step = steps(plan(HostState((wanted,)), seen(there)).changes)[0]
    assert step["files"] == files


def test_a_digest_of_files_changes_with_any_content_secret_ones_too() -> None:
    one, other = (File(path="/a", content=c, secret=True, mode=0o600) for c in (b"1", b"2"))
    link = Link(path="/b", target="x")
    assert digest_of(one, link) == digest_of(link, one)
    assert digest_of(one, link) != digest_of(other, link)
    assert digest_of(one) != digest_of(one, link)


def test_content_travels_only_where_it_differs() -> None:
    same = File(path="/a", content=b"same", mode=0o600)
    planned = plan(
        HostState((same, File(path="/b", content=b"new"))),
        seen(File(path="/a", digest=same.digest), File(path="/b", digest="0" * 64)),
    )
    assert list(contents(planned.changes)) == [(1, b"new")]
    assert "same" not in json.dumps(steps(planned.changes))


def test_a_file_that_was_secret_is_told_apart_without_its_digest() -> None:
    there = File(path="/a", digest="5" * 64, secret=True)
    planned = plan(HostState((File(path="/a", content=b"open now"),)), seen(there))
    shown = render.text(planned, with_diff=True) + json.dumps(render.record(planned, with_diff=True))
    assert "555" not in shown
    assert planned.changes[0].fields[0].secret


def test_no_fingerprint_of_a_plan_depends_on_a_secret() -> None:
    wanted = HostState((File(path="/a", content=b"hush", mode=0o600, secret=True),))
    said: dict[str, Any] = {
        "paths": {"/a": {"type": "file", "owner": "root", "group": "root", "mode": 0o600, "ours": False}},
        "users": {},
        "units": {},
        "manifest": {"paths": {}},
    }
    fingerprints = set()
    for digest in ("0" * 64, "1" * 64):
        said["paths"]["/a"]["sha256"] = digest
        fingerprints.add(plan(wanted, read("h1", said, wanted)).plan.fingerprint)
    assert len(fingerprints) == 1


def test_a_plan_says_where_there_is_no_room() -> None:
    big = HostState((File(path="/var/lib/big", content=b"x" * 2000), File(path="/srv/small", content=b"x")))
    assert plan(big, seen(free={"/": 5000, "/var": 1000})).notes == (
        "2000 bytes are to be written below `/var`, where 1000 are free",
    )


class Nobody:
    """A host that must not be asked."""

    name = "h1"

    def run(self, *_: object, **__: object) -> Ran:
        raise AssertionError("nothing may be asked")

    def close(self) -> None:
        """Nothing is open."""


def test_an_empty_plan_asks_nothing_of_the_host() -> None:
    report = apply(plan(HostState(()), seen()), HostDoor(Nobody()), by=OPERATOR)
    assert report == Report(done=(), failed=(), skipped=(), left=())
    assert render.outcome("h1", report, seconds=0.04) == "no changes in 0.0 s: host `h1` is as desired"


class Gone:
    """A host that answers no more."""

    name = "h1"

    def run(self, *_: object, **__: object) -> Ran:
        raise errors.HostUnreachable("host `h1` does not answer")

    def close(self) -> None:
        """Nothing is open."""


def test_of_a_host_that_is_lost_nothing_is_said_to_be_done() -> None:
    planned = plan(HostState((File(path="/srv/a", content=b""),)), seen())
    report = apply(planned, HostDoor(Gone()), by=OPERATOR)
    assert (report.done, report.left, report.converged) == ((), None, False)
    assert render.report_text("h1", report).splitlines() == [
        "host `h1` does not answer",
        "failed:  create file /srv/a",
        "host `h1` could not be observed afterwards: run again to see where it stands",
    ]
    assert render.report_record("h1", report)["error"] == "host `h1` does not answer"
    # Notes are told by whoever knows what else is told of the host.
    assert render.report_text("h1", replace(report, notes=("x",))) == render.report_text("h1", report)


def test_a_unit_that_came_up_or_went_down_by_itself_is_no_other_host() -> None:
    def host(**unit: object) -> str:
        return fingerprint({"units": {"a.service": unit}, "paths": {}, "users": {}, "manifest": {}})

    assert host(enabled=True, active=True) == host(enabled=True, active=False)
    assert host(enabled=True, active=True) != host(enabled=False, active=True)


def test_a_file_that_is_there_stays_as_it_is_without_its_content() -> None:
    there = File(path="/etc/fleet/password", digest="d" * 64, mode=0o400, secret=True)
    assert plan(HostState([there]), seen(there)).changes == ()
    (change,) = plan(HostState([replace(there, mode=0o440)]), seen(there)).changes
    (step,) = steps([change])
    assert (step["content"], list(contents([change]))) == (False, [])


def test_one_that_has_changed_meanwhile_is_refused_for_nobody_knows_what_stood_there() -> None:
    there = File(path="/etc/fleet/password", digest="d" * 64)
    for now in ((), (replace(there, digest="e" * 64),)):
        planned = plan(HostState([there]), seen(*now))
        assert "what stood there is not known here" in planned.refusals[there.identity]
        with pytest.raises(errors.Unsupported, match="nothing was changed") as caught:
            apply(planned, Unreachable(), by=OPERATOR)
        assert caught.value.hint == "plan again"


def test_what_lies_where_the_state_keeps_things_is_not_pruned() -> None:
    inside, beside = (
        File(path="/opt/r/1/x", content=b"", ours=True),
        File(path="/opt/r2", content=b"", ours=True),
    )
    changes = plan(HostState([], keeps=("/opt/r",)), seen(inside, beside)).changes
    assert [change.resource.label for change in changes] == ["file /opt/r2"]


@pytest.mark.parametrize(("wanted", "changes"), [(True, 1), (False, 1), (None, 0)])
def test_a_unit_that_neither_runs_nor_rests_can_be_started_and_stopped(
    wanted: bool | None,  # noqa: FBT001 - the case
    changes: int,
) -> None:
    starting = Unit(name="a.service", enabled=True, active=None)
    assert len(Unit(name="a.service", enabled=True, active=wanted).differences(starting)) == changes


class Unreachable(HostDoor):
    """A door that must not be used."""

    def __init__(self) -> None:
        self.name = "h1"
