"""The agent as a process, on a directory in the place of a host's root."""

import fcntl
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from provisioning import errors
from provisioning.apply import Report
from provisioning.hosts import render
from provisioning.hosts.apply import apply
from provisioning.hosts.door import HostDoor, Operator
from provisioning.hosts.objects import Directory, File, HostObject, Link, Tree
from provisioning.hosts.planning import plan
from provisioning.hosts.runner import Ran
from provisioning.hosts.sending import ARGV, stream
from provisioning.hosts.state import HostState
from tests.hosts.lab.system import await_that
from tests.local_runner import ME, MY_GROUP, LocalProcess, listing
from tests.unit.provisioning.host_states import packed, tree

OPERATOR = Operator(name="tester", origin="control", reason="a test")


class CutOff(LocalProcess):
    """Loses the connection before the last ``missing`` bytes were sent."""

    def __init__(self, missing: int) -> None:
        self.missing = missing

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        sent = b"".join(stdin)
        return LocalProcess.run(self, argv, stdin=(sent[: -self.missing],), timeout_seconds=timeout_seconds)


class Spoiled(LocalProcess):
    """Turns every `good` that is sent into `evil`."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        spoiled = (chunk.replace(b"good", b"evil") for chunk in stdin)
        return LocalProcess.run(self, argv, stdin=spoiled, timeout_seconds=timeout_seconds)


class Killed(LocalProcess):
    """Kills the agent when half of what is sent has arrived and ``seen`` stands there."""

    def __init__(self, seen: Path) -> None:
        self.seen = seen

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        sent = b"".join(stdin)
        with subprocess.Popen(
            (sys.executable, *argv[1:]), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            process.stdin.write(sent[: len(sent) // 2])
            process.stdin.flush()
            await_that(self.seen.exists, "the first half should be done", timeout_seconds=20)
            process.kill()
        raise errors.HostUnreachable("the power went")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "srv").mkdir(parents=True)
    return made


@pytest.fixture
def door(root: Path) -> HostDoor:
    return HostDoor(LocalProcess(), root=str(root))


def file(path: str, content: bytes, *, mode: int = 0o644, secret: bool = False) -> File:
    return File(path=path, content=content, mode=mode, secret=secret, owner=ME, group=MY_GROUP)


def bring(door: HostDoor, *objects: HostObject, over: LocalProcess | None = None, root: Path) -> Report:
    """Bring the host to have ``objects``, changing it over another runner if one is given."""
    state = HostState(objects)
    changing = HostDoor(over, root=str(root)) if over else door
    return apply(plan(state, door.observe(state)), changing, by=OPERATOR)


def test_objects_are_made_seen_and_kept(door: HostDoor, root: Path) -> None:
    objects = (
        Directory(path="/srv/in", owner=ME, group=MY_GROUP, mode=0o750),
        file("/srv/in/open", b"text\n"),
        file("/srv/in/secret", b"hush", mode=0o600, secret=True),
        Link(path="/srv/current", target="in"),
    )
    assert bring(door, *objects, root=root).converged
    assert listing(root) == {
        "srv": "0755",
        "srv/current": "-> in",
        "srv/in": "0750",
        "srv/in/open": "0644 b'text\\n'",
        "srv/in/secret": "0600 b'hush'",
    }
    state = HostState(objects)
    assert plan(state, door.observe(state)).changes == ()
    assert bring(door, root=root).converged
    assert listing(root) == {"srv": "0755"}


def test_a_text_comes_along_only_when_it_differs_and_is_no_secret(door: HostDoor, root: Path) -> None:
    before = (
        file("/srv/same", b"same"),
        file("/srv/other", b"other"),
        file("/srv/secret", b"hush", mode=0o600, secret=True),
        file("/srv/was-secret", b"hush", mode=0o600, secret=True),
    )
    assert bring(door, *before, root=root).converged
    asked = HostState(
        (
            before[0],
            file("/srv/other", b"new"),
            file("/srv/secret", b"new", mode=0o600, secret=True),
            file("/srv/was-secret", b"open now"),
        )
    )
    seen = door.observe(asked, contents=True)
    contents = {f.path: f.content for f in seen.objects if isinstance(f, File)}
    assert contents == {
        "/srv/other": b"other",
        "/srv/same": None,
        "/srv/secret": None,
        "/srv/was-secret": None,
    }
    shown = render.text(plan(asked, seen), with_diff=True)
    assert "-other" in shown
    assert "hush" not in shown
    assert "open now" not in shown


def test_what_was_secret_stays_so_until_its_file_is_another_one(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/z", b"hush", mode=0o600, secret=True), root=root).converged
    opened = file("/srv/z", b"open now")
    failed = bring(door, file("/srv/absent/x", b"x"), opened, root=root)
    assert [change.resource.label for change in failed.skipped] == ["file /srv/z"]
    state = HostState((opened,))
    assert "hush" not in render.text(plan(state, door.observe(state, contents=True)), with_diff=True)
    assert bring(door, opened, root=root).converged
    newer = HostState((file("/srv/z", b"newer"),))
    assert "-open now" in render.text(plan(newer, door.observe(newer, contents=True)), with_diff=True)


def test_what_is_not_ours_is_never_deleted(door: HostDoor, root: Path) -> None:
    (root / "srv/foreign").write_text("mine")
    assert bring(door, file("/srv/ours", b"x"), root=root).converged
    (root / "srv/foreign-too").write_text("mine")
    other = HostState((file("/srv/theirs", b"y"),), owner="monitoring")
    assert apply(plan(other, door.observe(other)), door, by=OPERATOR).converged
    assert bring(door, root=root).converged
    assert sorted(path.name for path in (root / "srv").iterdir()) == ["foreign", "foreign-too", "theirs"]


def test_a_plan_without_prune_leaves_what_is_declared_no_more(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/old", b"x"), root=root).converged
    empty = HostState(())
    planned = plan(empty, door.observe(empty), prune=False)
    assert "? file /srv/old" in render.text(planned)
    assert apply(planned, door, by=OPERATOR).converged
    assert (root / "srv/old").exists()


@pytest.mark.parametrize("missing", [1024, 3000, 20000])
def test_a_cut_off_upload_leaves_the_old_file_and_the_next_run_finishes(
    door: HostDoor, root: Path, missing: int
) -> None:
    assert bring(door, file("/srv/data", b"old"), root=root).converged
    new = file("/srv/data", b"n" * 50000)
    report = bring(door, new, over=CutOff(missing + 1024), root=root)
    assert [change.resource.label for change in report.failed] == ["file /srv/data"]
    assert "did not arrive whole" in str(report.error)
    assert listing(root) == {"srv": "0755", "srv/data": "0644 b'old'"}
    assert bring(door, new, root=root).converged


def test_what_was_made_before_the_power_went_is_known_for_ours(door: HostDoor, root: Path) -> None:
    first, second = file("/srv/a-first", b"a" * 40000), file("/srv/b-second", b"b" * 1000000)
    report = bring(door, first, second, over=Killed(root / "srv/.b-second.fleet-new"), root=root)
    # It is looked at over the runner that just lost it, so nothing can be said.
    assert report.left is None
    assert (root / "srv/a-first").exists()
    assert bring(door, file("/srv/c-other", b"c"), root=root).converged
    assert sorted(path.name for path in (root / "srv").iterdir()) == ["c-other"]


def test_the_second_of_two_is_told_who_is_at_it(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/a", b"1"), root=root).converged
    with (root / "run/fleet-provision/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = r"`tester@control` has been changing it for \d+ s \(a test\)"
        with pytest.raises(errors.HostBusy, match=told):
            bring(door, file("/srv/a", b"2"), root=root)
    assert bring(door, file("/srv/a", b"2"), root=root).converged


def test_content_that_arrives_damaged_is_refused(door: HostDoor, root: Path) -> None:
    report = bring(door, file("/srv/a", b"good"), file("/srv/b", b"fine"), over=Spoiled(), root=root)
    assert "the content arrived damaged" in str(report.error)
    assert [change.resource.label for change in report.skipped] == ["file /srv/b"]
    assert listing(root) == {"srv": "0755"}


def test_what_a_crash_left_beside_a_place_is_cleared(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/data", b"old"), file("/srv/other", b"1"), root=root).converged
    (root / "srv/.data.fleet-new").write_text("half of it")
    assert bring(door, file("/srv/data", b"old"), file("/srv/other", b"2"), root=root).converged
    assert sorted(path.name for path in (root / "srv").iterdir()) == ["data", "other"]


def test_a_path_that_passes_a_link_is_refused_before_anything_is_done(
    door: HostDoor, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "srv/way").symlink_to(outside)
    with pytest.raises(errors.Unsupported, match="`/srv/way` is a link"):
        bring(door, file("/srv/first", b"x"), file("/srv/way/file", b"x"), root=root)
    assert list(outside.iterdir()) == []
    assert not (root / "srv/first").exists()


def test_a_link_where_a_file_was_is_replaced_and_not_followed(
    door: HostDoor, root: Path, tmp_path: Path
) -> None:
    assert bring(door, file("/srv/data", b"ours"), root=root).converged
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (root / "srv/data").unlink()
    (root / "srv/data").symlink_to(victim)
    assert bring(door, file("/srv/data", b"ours"), root=root).converged
    assert victim.read_text() == "untouched"
    assert not (root / "srv/data").is_symlink()


def test_a_directory_in_the_place_of_a_file_is_not_emptied(door: HostDoor, root: Path) -> None:
    (root / "srv/data").mkdir()
    (root / "srv/data/inside").write_text("mine")
    state = HostState((file("/srv/data", b"x"),))
    planned = plan(state, door.observe(state))
    with pytest.raises(errors.DestructionRefused, match="a directory stands there"):
        apply(planned, door, by=OPERATOR)
    report = apply(planned, door, by=OPERATOR, allow_destructive=True)
    assert "Directory not empty" in str(report.error)
    assert (root / "srv/data/inside").read_text() == "mine"


def test_nothing_is_written_into_a_directory_that_is_open_to_everybody(door: HostDoor, root: Path) -> None:
    (root / "srv").chmod(0o777)
    report = bring(door, file("/srv/data", b"x"), root=root)
    assert "directory `/srv` is open to everybody" in str(report.error)
    declared = Directory(path="/srv", owner=ME, group=MY_GROUP)
    assert bring(door, declared, file("/srv/data", b"x"), root=root).converged


@pytest.fixture
def release(tmp_path: Path) -> Tree:
    archive = tmp_path / "one.tar.gz"
    archive.write_bytes(packed({"bin/run": b"one", "lib/a.py": b"a"}))
    return tree("/srv/release", archive)


def test_a_tree_is_put_back_when_it_was_touched(door: HostDoor, root: Path, release: Tree) -> None:
    assert bring(door, release, root=root).converged
    assert (root / "srv/release/bin/run").stat().st_mode & 0o7777 == 0o755
    caches = root / "srv/release/lib/__pycache__"
    caches.mkdir()
    (root / "srv/.release.fleet-old").mkdir()
    (root / "srv/.release.fleet-old/half").write_text("of what was there before")
    (caches / "a.pyc").write_text("root ran something")
    state = HostState((release,))
    assert plan(state, door.observe(state)).changes == ()
    (root / "srv/release/lib/a.py").write_text("b")
    assert [str(c.action) for c in plan(state, door.observe(state)).changes] == ["replace"]
    assert bring(door, release, root=root).converged
    assert (root / "srv/release/lib/a.py").read_text() == "a"
    assert bring(door, root=root).converged
    assert listing(root) == {"srv": "0755"}


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield archives that would write outside their tree, or more than files."""
    for name in ("../outside", "/outside", "in/../../outside"):
        yield name, packed({name: b"x"})
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        way = tarfile.TarInfo("way")
        way.type, way.linkname = tarfile.SYMTYPE, "/tmp"
        archive.addfile(way)
        archive.addfile(tarfile.TarInfo("way/outside"), io.BytesIO())
    yield "through its own link", made.getvalue()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        device = tarfile.TarInfo("device")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    yield "device", made.getvalue()
    whole = packed({"file": b"x" * 100000})
    yield "half an archive", whole[: len(whole) // 2]
    yield "no archive", b"nothing of the kind"


@pytest.mark.parametrize(
    ("name", "content"), list(hostile()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_archive_that_is_not_a_plain_tree_is_refused(
    door: HostDoor, root: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    archive = tmp_path / "hostile.tar.gz"
    archive.write_bytes(content)
    report = bring(door, tree("/srv/release", archive), root=root)
    assert "the archive" in str(report.error)
    assert listing(root) == {"srv": "0755"}


def test_an_archive_that_changed_after_it_was_declared_is_refused(
    door: HostDoor, root: Path, release: Tree
) -> None:
    assert release.archive is not None
    release.archive.write_bytes(packed({"bin/run": b"two"}))
    assert "the archive arrived damaged" in str(bring(door, release, root=root).error)
    assert listing(root) == {"srv": "0755"}


def test_a_host_that_changed_meanwhile_is_left_alone_and_what_changed_is_named(
    door: HostDoor, root: Path
) -> None:
    assert bring(door, file("/srv/a", b"1"), file("/srv/b", b"1"), root=root).converged
    desired = HostState((file("/srv/a", b"1"), file("/srv/b", b"2")))
    planned = plan(desired, door.observe(desired))
    (root / "srv/a").write_text("somebody else")
    with pytest.raises(errors.WorldMoved, match=r"file /srv/a changed\); nothing was changed"):
        apply(planned, door, by=OPERATOR)
    assert (root / "srv/b").read_text() == "1"


def test_an_unknown_owner_fails_with_its_name(door: HostDoor, root: Path) -> None:
    wanted = replace(file("/srv/a", b"1"), owner="nobody-has-this-name")
    assert "there is no user `nobody-has-this-name`" in str(bring(door, wanted, root=root).error)


def test_records_that_cannot_be_read_are_no_empty_ones(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/a", b"1"), root=root).converged
    (root / "var/lib/fleet-provision/fleet.json").write_text("{")
    with pytest.raises(errors.HostUnusable, match="cannot be read"):
        door.observe(HostState(()))


def test_each_apply_is_one_line_of_the_audit_log(door: HostDoor, root: Path) -> None:
    assert bring(door, file("/srv/a", b"1"), root=root).converged
    failed = bring(door, file("/srv/a", b"2"), file("/srv/absent/b", b"2"), root=root)
    assert failed.error is not None
    log = root / "var/log/fleet/audit.jsonl"
    assert log.stat().st_mode & 0o777 == 0o644
    with log.open("a") as cut:
        cut.write('{"at": 1, "wh')
    first, second = door.audit()
    assert (first.who, first.done, first.failed) == ("tester@control", ("create file /srv/a",), None)
    assert (second.done, second.failed) == (("update file /srv/a",), "create file /srv/absent/b")
    assert first.at <= second.at


def test_a_line_of_the_audit_log_that_was_cut_short_takes_no_later_one_with_it(
    door: HostDoor, root: Path
) -> None:
    log = root / "var/log/fleet/audit.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"at": 1, "wh')
    assert bring(door, file("/srv/a", b"1"), root=root).converged
    (only,) = door.audit()
    assert only.done == ("create file /srv/a",)


def test_the_argv_of_the_agent_names_nothing_of_the_request() -> None:
    sent = b"".join(stream({"verb": "audit", "root": "/nowhere", "limit": 1}))
    done = subprocess.run((sys.executable, *ARGV[1:]), input=sent, capture_output=True, check=False)
    said = json.loads(done.stdout)
    assert said["event"] == "refused"
    assert "/nowhere" not in " ".join(ARGV)
    assert done.stderr == b""


def test_a_host_without_python_says_so(root: Path) -> None:
    class WithoutPython(LocalProcess):
        def run(
            self,
            argv: Sequence[str],
            *,
            stdin: Iterable[bytes] = (),
            as_root: bool = False,
            timeout_seconds: float = 60.0,
        ) -> Ran:
            return LocalProcess.run(self, ("sh", "-c", "exec no-such-python3"), stdin=stdin)

    with pytest.raises(errors.HostUnusable, match="no-such-python3") as caught:
        HostDoor(WithoutPython(), root=str(root)).observe(HostState(()))
    assert caught.value.hint == "install Python: `apt-get install python3`"


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_host_with_our_python_runs_what_we_have_compiled_and_any_other_compiles_the_text(
    root: Path, *, is_ours: bool
) -> None:
    sent = b"".join(stream({"verb": "audit", "root": str(root), "limit": 1}))
    head, _, body = sent.partition(b"\n")
    magic, *sizes = head.split()
    compiled, text = int(sizes[0]), int(sizes[1])
    if is_ours:
        # What is not to be read is spoiled.
        body = body[:compiled] + bytes(text) + body[compiled + text :]
    else:
        magic, body = magic.replace(magic[:2], b"00"), bytes(compiled) + body[compiled:]
    given = b" ".join((magic, *sizes)) + b"\n" + body
    done = subprocess.run((sys.executable, *ARGV[1:]), input=given, capture_output=True, check=False)
    assert json.loads(done.stdout) == {"event": "audit", "entries": []}


def test_a_look_tells_which_directories_hold_a_file_and_what_the_agent_runs_on(
    door: HostDoor, root: Path
) -> None:
    for name in ("whole", "half", "turned"):
        (root / "srv" / name).mkdir()
    (root / "srv/whole/.mark").touch()
    (root / "srv/turned/.mark").symlink_to("../whole/.mark")
    (root / "srv/led").symlink_to("whole")
    (root / "srv/plain").touch()
    seen = door.observe(HostState(()), holding={"/srv": ".mark", "/absent": ".mark"})
    assert seen.holding == {"/srv": {"whole"}, "/absent": frozenset()}
    version, machine, libc = seen.runtime.split(" ")
    assert version == "{}.{}".format(*sys.version_info[:2])
    assert machine == os.uname().machine
    assert libc


class Counting(LocalProcess):
    """Notes how often somebody asked."""

    def __init__(self) -> None:
        self.trips = 0

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        self.trips += 1
        return LocalProcess.run(self, argv, stdin=stdin, as_root=as_root, timeout_seconds=timeout_seconds)


def test_a_change_is_made_and_looked_at_in_one_trip(root: Path) -> None:
    runner = Counting()
    door = HostDoor(runner, root=str(root))
    wanted, absent = file("/srv/a", b"1"), file("/srv/absent/b", b"2")
    report = bring(door, wanted, root=root)
    assert (report.converged, runner.trips) == (True, 2)
    failed = bring(door, wanted, absent, root=root)
    assert failed.left is not None
    assert [change.after for change in failed.left] == [absent]
    assert runner.trips == 4
