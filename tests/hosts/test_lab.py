"""A lab starts, stands beside others, survives being killed at any moment, and leaves no trace."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.lab import HostSpec, Image, Lab, LabFailed, LabMissing, system
from tests.hosts.lab import images as images_module
from tests.hosts.lab.build import CONTAINED, OVER
from tests.hosts.lab.images import built, forget, provide, trees
from tests.hosts.lab.layers import BASE, RABBITMQ, Layer
from tests.hosts.lab.mirror import machine_suite
from tests.hosts.traces import observe

ROOT = Path(__file__).parents[2]
#: as long as a small lab takes to boot here, so that a kill may fall into any part of it
BOOT_SECONDS = 2.5


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
    provide(plain("alpha")[0].image)
    before = observe()
    lab = Lab.start(name("trace"), plain("alpha", "beta"))
    with pytest.raises(LabFailed, match="absent"), lab:  # noqa: PT012 - what is raised ends the lab
        lab.boot()
        seen = observe()
        assert len(seen.interfaces) == len(before.interfaces) + 3
        # Even while it runs, its mounts are nobody's but the hosts' own.
        assert seen.mounts == before.mounts
        lab["beta"].run("ls", "/absent")
    assert observe() == before


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
        assert caught.value.hint == "`make lab-down`, or choose another name"
    before = observe()
    for bad in ("", "-x", "../x", "Alpha", "a" * 25):
        with pytest.raises(LabFailed, match="is no name for a lab or host"):
            Lab.start(bad, plain("alpha"))
        with pytest.raises(LabFailed, match="is no name for a lab or host"):
            Lab.start(name("bad"), plain(bad))
    assert observe() == before


def test_a_host_that_does_not_come_up_is_one_error_with_its_last_words_and_no_trace() -> None:
    before = observe()
    with Lab.start(name("broken"), plain("alpha")) as lab:
        lab["alpha"].put("/etc/systemd/system/default.target", "[Unit]\nRequires=absent.service\n")
        with pytest.raises(
            LabFailed, match=r"(?s)`alpha` not up within 3 s:\n.*emergency|ended while it booted"
        ):
            lab.boot(timeout_seconds=3)
    assert observe() == before


def test_a_lab_killed_at_any_moment_of_its_start_can_be_started_again(kept: str) -> None:
    provide(Image(suite="bookworm"))
    before = observe()
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    shape = ("--name", kept, "--brokers", "0", "--workers", "2")
    for _ in range(10):
        moment = moments.uniform(0.0, BOOT_SECONDS)
        with subprocess.Popen(argv("keep", *shape), cwd=ROOT, stdout=subprocess.DEVNULL) as keeper:
            with suppress(subprocess.TimeoutExpired):
                keeper.wait(moment)
            keeper.kill()
    started = command("up", *shape)
    assert started.returncode == 0, f"seed {seed}: {started.stdout}{started.stderr}"
    assert "is up: 2 x Debian bookworm" in started.stdout
    ended = command("down", "--name", kept)
    assert ended.returncode == 0, f"seed {seed}: {ended.stdout}{ended.stderr}"
    assert observe() == before, f"seed {seed}"


def test_hosts_die_with_their_keeper(kept: str) -> None:
    shape = ("--name", kept, "--brokers", "0", "--workers", "1")
    assert command("up", *shape).returncode == 0
    (lab,) = [one for one in json.loads(command("status", "--json").stdout)["labs"] if one["name"] == kept]
    inside = [line for line in observe().processes if f"/{kept}/" in line]
    assert inside
    os.kill(lab["owner"], signal.SIGKILL)
    system.await_that(
        lambda: not [line for line in observe().processes if f"/{kept}/" in line],
        "the hosts should be gone",
        timeout_seconds=20,
    )
    assert "removing what is left of lab" in command("down", "--name", kept).stdout


def test_a_kept_lab_is_shown_used_and_ended(kept: str) -> None:
    shape = ("--name", kept, "--brokers", "0", "--workers", "1")
    started = command("up", *shape)
    assert started.returncode == 0, started.stderr
    again = command("up", *shape)
    assert again.returncode == 1
    assert f"a lab named `{kept}` is running" in again.stdout + again.stderr
    log_in = next(line.split("log in")[1].split() for line in started.stdout.splitlines() if "log in" in line)
    said = subprocess.run((*log_in, "hostname"), capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout == "alpha\n"
    (lab,) = [one for one in json.loads(command("status", "--json").stdout)["labs"] if one["name"] == kept]
    (host,) = lab["hosts"]
    assert host["is_on"]
    assert 5e6 < host["memory_bytes"] < 2e8
    shown = command("status").stdout
    assert f"lab `{kept}`: 0.0" in shown
    refused = command("clean")
    assert refused.returncode == 1
    assert "stands on the images" in refused.stderr
    ended = command("down", "--name", kept)
    assert ended.stdout.startswith(f"lab `{kept}` is gone")
    assert f"no lab named `{kept}` is running" in command("down", "--name", kept).stdout


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
    names = {
        trees(image)[-1].directory.name
        for image in (
            Image(suite="trixie", layers=(RABBITMQ,)),
            Image(suite="bookworm", layers=(RABBITMQ,)),
            Image(suite="trixie", layers=(other,)),
            Image(suite="trixie"),
        )
    }
    assert len(names) == 4
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
    assert list((tmp_path / "images").iterdir()) == []


def test_a_killed_build_leaves_neither_mounts_nor_processes(tmp_path: Path) -> None:
    places = [tmp_path / part for part in ("lower", "upper", "work", "mounted")]
    for place in places:
        place.mkdir()
    (tmp_path / "lower" / "proc").mkdir()
    beat = tmp_path / "upper" / "started"
    script = f"touch {tmp_path}/mounted/started; exec sleep 60"
    build = (*CONTAINED, "sh", "-c", OVER, "sh", *map(str, places), "sh", "-c", script)
    before = observe()
    with subprocess.Popen(build, env=system.program_environ()) as builder:
        system.await_that(beat.exists, "the build should have started", timeout_seconds=20)
        assert observe().mounts == before.mounts
        builder.kill()
    system.await_that(
        lambda: not any(str(tmp_path) in line for line in _arguments()),
        "what the build started should be gone",
        timeout_seconds=20,
    )
    assert observe().mounts == before.mounts


def _arguments() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
