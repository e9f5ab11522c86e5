"""A lab starts, stands beside others, survives being killed at any moment, and leaves no trace."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.lab import HostSpec, Image, Lab, LabFailed, LabMissing, system
from tests.hosts.lab import images as images_module
from tests.hosts.lab.images import built, forget, provide, trees
from tests.hosts.lab.layers import BASE, RABBITMQ, Layer
from tests.hosts.lab.namespaces import Overlay
from tests.hosts.lab.network import interfaces
from tests.hosts.lab.system import SUITES, machine_suite
from tests.hosts.traces import processes_naming, traces
from tests.servers import clean_environ

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def can_carry_a_lab() -> None:
    missing = system.lab_missing()
    if missing:
        pytest.skip(missing)


def plain(*names: str) -> list[HostSpec]:
    return [HostSpec(name=name, image=Image(suite=machine_suite())) for name in names]


def argv(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.hosts.lab", *arguments)


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def name(suffix: str) -> str:
    return f"life-{os.getpid()}-{suffix}"


@pytest.fixture
def kept() -> Iterator[str]:
    """The name of a lab that the test may leave running."""
    chosen = name("kept")
    yield chosen
    command("down", "--name", chosen)


def test_a_lab_leaves_no_trace_even_after_an_error_inside_it() -> None:
    lab = Lab.start(name("trace"), plain("alpha", "beta"))
    with pytest.raises(LabFailed, match="absent"), lab:  # noqa: PT012 - what is raised ends the lab
        lab.boot()
        seen = traces(lab.name)
        # A bridge, two cables, a directory, processes, but no mount: those are the hosts' own.
        assert lab.network.bridge in seen
        assert len([line for line in seen if line.startswith("vb-")]) == 2
        assert str(lab.directory) in seen
        assert len(processes_naming(f"{lab.directory}/")) >= 2
        assert str(lab.directory) not in Path("/proc/self/mountinfo").read_text()
        lab["beta"].run("ls", "/absent")
    assert traces(lab.name) == []
    assert lab.network.bridge not in interfaces()
    assert not processes_naming(f"{lab.directory}/")


def test_a_lab_makes_room_for_the_watchers_of_many_hosts(tmp_path: Path) -> None:
    with Lab.start(name("watch"), ()):
        assert int(system.INOTIFY_INSTANCES.read_text()) >= system.WATCHERS
    limit = tmp_path / "max_user_instances"
    for before, after in (("128", "1024"), ("4096", "4096")):
        limit.write_text(before)
        system.let_many_watch_files(limit)
        assert limit.read_text() == after


def test_two_labs_with_the_same_host_names_stand_side_by_side_and_apart() -> None:
    with Lab.start(name("one"), plain("alpha")) as one, Lab.start(name("two"), plain("alpha")) as two:
        one.boot()
        two.boot()
        assert one["alpha"].address != two["alpha"].address
        one["alpha"].put("/srv/mine", "one")
        with pytest.raises(LabFailed, match="No such file"):
            two["alpha"].read("/srv/mine")
        knock = f"timeout 2 bash -c 'echo > /dev/tcp/{two['alpha'].address}/22' && echo open"
        assert "open" not in one["alpha"].console("sh", "-c", knock, check=False)


def test_addresses_follow_the_order_of_declaration_and_not_of_booting() -> None:
    with Lab.start(name("order"), plain("alpha", "beta", "gamma")) as lab:
        lab.boot("gamma")
        assert lab["gamma"].address.endswith(".13")
        assert lab["alpha"].address.endswith(".11")
        assert f"{lab['beta'].address} beta" in lab["gamma"].read("/etc/hosts").decode()


def test_the_name_of_a_running_lab_is_taken_and_a_bad_name_is_refused() -> None:
    with Lab.start(name("taken"), plain("alpha")):
        with pytest.raises(LabFailed, match=r"a lab named `life-\d+-taken` is running") as caught:
            Lab.start(name("taken"), plain("alpha"))
        end = f"`make lab-down NAME={name('taken')}`"
        assert caught.value.hint == f"{end}, or choose another name"
    for bad in ("", "-x", "../x", "Alpha", "a" * 25):
        with pytest.raises(LabFailed, match="is no name for a lab or host"):
            Lab.start(bad, plain("alpha"))
        with pytest.raises(LabFailed, match="is no name for a lab or host"):
            Lab.start(name("bad"), plain(bad))
    assert traces(name("bad")) == []


def test_a_host_that_does_not_come_up_is_one_error_with_its_last_words_and_no_trace() -> None:
    with Lab.start(name("broken"), plain("alpha")) as lab:
        lab["alpha"].put("/etc/systemd/system/default.target", "[Unit]\nRequires=absent.service\n")
        with pytest.raises(LabFailed, match=r"(?s)`alpha` not up within 3 s:\n.|ended while it booted:\n."):
            lab.boot(timeout_seconds=3)
    assert traces(name("broken")) == []


def test_a_host_that_reboots_itself_is_off_until_it_is_booted() -> None:
    with Lab.start(name("reboot"), plain("alpha")) as lab:
        host = lab["alpha"]
        host.boot()
        host.console("systemctl", "reboot", check=False)
        system.await_that(lambda: not host.is_on, "it should have gone down", timeout_seconds=30)
        host.boot()
        assert host.run("hostname") == "alpha\n"


@pytest.mark.parametrize("suite", SUITES)
def test_a_host_that_lost_its_power_starts_services_as_before(suite: str) -> None:
    with Lab.start(name("again"), [HostSpec(name="alpha", image=Image(suite=suite))]) as lab:
        host = lab["alpha"]
        host.boot()
        host.power_off()
        host.boot()
        host.console("systemd-run", "--wait", "--quiet", "true")
        host.reboot()
        host.console("systemd-run", "--wait", "--quiet", "true")
        assert host.failed_units() == ()


def moments(directory: Path) -> list[Callable[[], bool]]:
    """Return what can be seen of a start, in the order in which it comes to be."""
    return [
        lambda: True,
        directory.exists,
        (directory / "lab.json").exists,
        (directory / "ssh" / "config").exists,
        (directory / "hosts" / "alpha" / "console.log").exists,
        (directory / "hosts" / "beta" / "console.log").exists,
    ]


def test_a_lab_killed_at_any_moment_of_its_start_can_be_started_again(kept: str) -> None:
    provide(Image(suite="bookworm"))
    shape = ("--name", kept, "--brokers", "0", "--workers", "2")
    directory = system.lab_root() / "labs" / kept
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    left = 0
    for number in range(10):
        with subprocess.Popen(argv("keep", *shape), cwd=ROOT, stdout=subprocess.DEVNULL) as keeper:
            reached = moments(directory)[number % 6]
            # The rest of the lab before is swept first, so a directory of its own comes after that.
            while not (owned(directory, keeper.pid) or number % 6 == 0) or not reached():
                assert keeper.poll() is None, f"seed {seed}: it ended by itself"
                time.sleep(0.002)
            with suppress(subprocess.TimeoutExpired):
                keeper.wait(chance.uniform(0.0, 0.4))
            assert keeper.poll() is None, f"seed {seed}: it ended by itself"
            keeper.kill()
        left += bool(traces(kept))
    assert left >= 5
    started = command("up", *shape)
    assert started.returncode == 0, f"seed {seed}: {started.stdout}{started.stderr}"
    assert "is up: 2 x Debian bookworm" in started.stdout
    ended = command("down", "--name", kept)
    assert ended.returncode == 0, f"seed {seed}: {ended.stdout}{ended.stderr}"
    assert traces(kept) == [], f"seed {seed}"


def owned(directory: Path, pid: int) -> bool:
    """Tell whether the lab in ``directory`` is the one that process ``pid`` starts."""
    try:
        return bool(json.loads((directory / "lab.json").read_text())["owner"] == pid)
    except (OSError, json.JSONDecodeError):
        return False


def listed(lab: str) -> dict[str, Any]:
    """Return what `status` says of ``lab``."""
    shown = json.loads(command("status", "--json").stdout)["labs"]
    return next(one for one in shown if one["name"] == lab)


def test_hosts_die_with_their_keeper(kept: str) -> None:
    assert command("up", "--name", kept, "--brokers", "0", "--workers", "1").returncode == 0
    inside = f"{system.lab_root()}/labs/{kept}/hosts"
    assert processes_naming(inside)
    os.kill(listed(kept)["owner"], signal.SIGKILL)
    system.await_that(lambda: not processes_naming(inside), "the hosts should be gone", timeout_seconds=20)
    # Another lab that starts at this moment may be the one who removes what is left.
    assert command("down", "--name", kept).returncode == 0
    assert traces(kept) == []


def test_an_interrupted_start_cleans_up(kept: str) -> None:
    shape = ("--name", kept, "--brokers", "0", "--workers", "2")
    directory = system.lab_root() / "labs" / kept
    with subprocess.Popen(argv("up", *shape), cwd=ROOT, stdout=subprocess.DEVNULL) as starting:
        system.await_that((directory / "hosts").exists, "it should have begun", timeout_seconds=60)
        starting.send_signal(signal.SIGINT)
        assert starting.wait(60) == 130
    system.await_that(lambda: not traces(kept), "nothing should be left", timeout_seconds=60)


def test_a_kept_lab_is_shown_used_and_ended(kept: str, tmp_path: Path) -> None:
    shape = ("--name", kept, "--brokers", "1", "--workers", "1")
    with Lab.start(name("beside"), plain("alpha")) as beside:
        beside.boot()
        started = command("up", *shape)
        assert started.returncode == 0, started.stdout + started.stderr
        assert beside["alpha"].run("hostname") == "alpha\n"
        refused = command("down", "--name", beside.name)
        assert refused.returncode == 1
        assert f"lab `{beside.name}` belongs to process {os.getpid()}" in refused.stderr
    again = command("up", *shape)
    assert again.returncode == 1
    assert f"a lab named `{kept}` is running" in again.stdout
    told = {line[2:20].strip(): line[20:] for line in started.stdout.splitlines() if line.startswith("  ")}
    said = subprocess.run(
        (*told["log in"].split(), "hostname"), capture_output=True, text=True, timeout=20, check=True
    )
    assert said.stdout == "alpha\n"
    said = subprocess.run(told["rabbitmqctl"].split(), capture_output=True, text=True, timeout=60, check=True)
    assert "rabbit@mq1" in said.stdout
    assert Path(told["its password"]).stat().st_mode & 0o077 == 0
    hosts = {host["name"]: host for host in listed(kept)["hosts"]}
    assert all(host["is_on"] for host in hosts.values())
    assert 5e6 < hosts["alpha"]["memory_bytes"] < hosts["mq1"]["memory_bytes"] < 1e9
    assert f"lab `{kept}`: 0." in command("status").stdout
    runs_what_a_newcomer_is_told(kept)
    ended = command("down", "--name", kept)
    assert ended.stdout.startswith(f"lab `{kept}` is gone")
    assert f"no lab named `{kept}` is running" in command("down", "--name", kept).stdout


def runs_what_a_newcomer_is_told(kept: str) -> None:
    """Make a fleet of the lab, as `make lab` does, and type some of the lines that it prints."""
    program = (sys.executable, "-m", "tests.hosts.newcomer", "--name", kept)
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    (file,) = (line.partition("=")[2] for line in lines if line.startswith("export FLEET_FILE="))
    (path,) = (
        line.removeprefix("PATH=").removesuffix(":$PATH") for line in lines if line.startswith("PATH=")
    )
    environ = clean_environ() | {"FLEET_FILE": file}
    for what in ("what stands there", "send a task", "let a host rest"):
        (told,) = (line.removeprefix(what).strip() for line in lines if line.startswith(what))
        for each in told.split("; "):
            asked = ("--yes",) if "drain" in each or "resume" in each else ()
            argv = (f"{path}/fleet", *shlex.split(each)[1:], *asked)
            subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=120, check=True)


def test_images_under_a_lab_are_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_LAB_CACHE", str(tmp_path))
    with Lab.start("stands", ()):
        refused = command("clean")
        assert refused.returncode == 1
        assert "lab `stands` stands on the images" in refused.stderr
    assert command("clean").stdout == "removed 0 MB of images\n"


def test_an_interrupted_removal_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree,) = trees(Image(suite="trixie"), tmp_path)
    (tree.root / "some").mkdir(parents=True)

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        forget(tmp_path)
    assert not tree.is_built
    monkeypatch.undo()
    forget(tmp_path)
    assert not list((tmp_path / "images").glob("[!.]*"))


def test_without_root_a_lab_says_in_one_line_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabMissing) as caught:
        Lab.start(name("user"), plain("alpha"))
    assert caught.value.message == "a lab of hosts needs root"
    monkeypatch.undo()
    monkeypatch.setattr(system, "SEARCH_PATH", "/nonexistent")
    missing = system.lab_missing()
    assert missing is not None
    assert "debootstrap" in missing
    assert "\n" not in missing


def test_an_image_is_known_by_all_that_went_into_it() -> None:
    assert [tree.layer.name for tree in trees(Image(suite="trixie", layers=(RABBITMQ,)))] == [
        "base",
        "rabbitmq",
    ]
    other = Layer(name=RABBITMQ.name, packages=(*RABBITMQ.packages, "less"))
    offered = Layer(name=RABBITMQ.name, packages=RABBITMQ.packages, is_offered=True)
    names = {
        trees(image)[-1].directory.name
        for image in (
            Image(suite="trixie", layers=(RABBITMQ,)),
            Image(suite="bookworm", layers=(RABBITMQ,)),
            Image(suite="trixie", layers=(other,)),
            Image(suite="trixie", layers=(offered,)),
            Image(suite="trixie"),
        )
    }
    assert len(names) == 5
    with pytest.raises(LabFailed, match="no images of Debian `sid`"):
        Image(suite="sid")


def test_a_missing_image_is_built_once_however_many_ask_and_after_a_killed_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds: list[Path] = []

    def recipe(suite: str, packages: tuple[str, ...], work: Path) -> None:
        assert packages == BASE.packages
        builds.append(work)
        (work / "tree").mkdir()
        (work / "tree" / "file").write_text(suite)

    monkeypatch.setattr(images_module, "build_base", recipe)
    (tree,) = trees(Image(suite="trixie"), tmp_path)
    left = tree.directory.with_name(f"{tree.directory.name}.new")
    (left / "tree").mkdir(parents=True)
    (left / "tree" / "half").touch()
    threads = [
        threading.Thread(target=provide, args=(Image(suite="trixie"),), kwargs={"root": tmp_path})
        for _ in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [left]
    assert [path.name for path in tree.root.iterdir()] == ["file"]
    assert list(built(tmp_path)) == [tree.directory.name]
    assert forget(tmp_path) > 0
    assert not list((tmp_path / "images").glob("[!.]*"))


BUILDER = """\
import subprocess, sys
from pathlib import Path
from tests.hosts.lab.namespaces import Overlay
lower, upper, work, mounted = map(Path, sys.argv[1:])
overlay = Overlay(lowers=(lower,), upper=upper, work=work, mounted=mounted)
subprocess.run(overlay.beside("sh", "-c", f"touch {mounted}/started; exec sleep 60"))
"""


def test_a_killed_build_leaves_neither_mounts_nor_processes(tmp_path: Path) -> None:
    places = [tmp_path / part for part in ("lower", "upper", "work", "mounted")]
    (tmp_path / "lower" / "proc").mkdir(parents=True)
    Overlay(lowers=(places[0],), upper=places[1], work=places[2], mounted=places[3]).create()
    with subprocess.Popen((sys.executable, "-c", BUILDER, *map(str, places)), cwd=ROOT) as builder:
        started = tmp_path / "upper" / "started"
        system.await_that(started.exists, "the build should have started", timeout_seconds=20)
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        builder.kill()
    system.await_that(
        lambda: not processes_naming(str(tmp_path)), "what it started should be gone", timeout_seconds=20
    )
