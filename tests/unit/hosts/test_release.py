"""What a release is made of, and what is done with it; nothing is downloaded."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import UsageError
from fleet.hosts.assembled import release_name
from fleet.hosts.fetched import NOT_ON_HOSTS, requirements_of
from fleet.hosts.install import (
    Release,
    install_steps,
    prune_steps,
    releases_of,
    switch_steps,
    to_prune,
)
from fleet.hosts.requirements import closure, locked_part, pins
from fleet.hosts.target import Target, marker_environment, pip_options, target_of
from fleet.hosts.wheel import Wheel, pack

BOOKWORM = Target(python=(3, 11), machine="x86_64", glibc_minor=36)
RELEASE = Release(name="1-abc", digest="0" * 64, archive=Path("/x/1-abc.tar"), target=BOOKWORM)
LOCK = f"""\
amqp==5.4 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
new-thing==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{"c" * 64}
ruff==1.0 \\
    --hash=sha256:{"d" * 64}
"""


def test_a_wheel_is_the_same_bytes_for_the_same_files_in_any_order() -> None:
    files = {"b/__init__.py": b"", "a.py": b"x = 1\n"}
    turned = dict(reversed(files.items()))
    one = pack(Wheel(name="x", version="1", files=files))
    assert one == pack(Wheel(name="x", version="1", files=turned))
    names = zipfile.ZipFile(io.BytesIO(one)).namelist()
    assert names[:2] == ["a.py", "b/__init__.py"]
    assert names[-1] == "x-1.dist-info/RECORD"


def test_of_the_lock_comes_what_is_needed_where_it_applies() -> None:
    wanted = ("amqp", "new-thing")
    old = locked_part(LOCK, wanted, marker_environment(BOOKWORM))
    assert list(pins(old)) == ["amqp"]
    assert pins(old)["amqp"] == {"a" * 64, "b" * 64}
    newer = marker_environment(replace(BOOKWORM, python=(3, 13)))
    both = locked_part(LOCK, wanted, newer)
    assert list(pins(both)) == ["amqp", "new-thing"]
    # pip would ask the Python that it runs with.
    assert both.splitlines()[3:] == ["new-thing==2.0 \\", f"    --hash=sha256:{'c' * 64}"]


def test_what_is_needed_is_followed_through_extras_and_in_circles() -> None:
    needs = {
        "fleet": ["celery>=5", "kombu[redis]; extra == 'redis'", "ruff; extra == 'dev'"],
        "celery": ["kombu", "old; python_version < '3'"],
        "kombu": ["Celery", "redis-py; extra == 'redis'"],
    }

    def requires(name: str) -> list[str]:
        return needs.get(name, [])

    environment = marker_environment(BOOKWORM)
    assert closure("fleet", requires, environment) == {"celery", "kombu"}
    assert closure("fleet", requires, environment, extras=("redis",)) == {"celery", "kombu", "redis-py"}
    alone = {"fleet": ["celery", "fabric"], "celery": ["six"], "fabric": ["six", "paramiko"]}
    left = closure("fleet", lambda name: alone.get(name, []), environment, without={"fabric"})
    assert left == {"celery", "six"}


def test_every_package_that_fleet_needs_is_locked_for_both_debians() -> None:
    for python in ((3, 11), (3, 13)):
        found = pins(requirements_of(replace(BOOKWORM, python=python)))
        assert {"celery", "kombu", "fabric", "pydantic-core", "cryptography"} <= found.keys()
        on_host = pins(requirements_of(replace(BOOKWORM, python=python), without=NOT_ON_HOSTS))
        assert found.keys() - on_host.keys() >= {"fabric", "paramiko", "cryptography", "pygments"}
        assert {"celery", "kombu", "pydantic-core", "rich", "requests"} <= on_host.keys()
        assert not {"ruff", "pytest", "redis", "ansible-core"} & found.keys()
        assert all(found.values())


def test_a_host_says_what_it_is() -> None:
    assert target_of("3.11 x86_64 glibc-2.36\n") == BOOKWORM
    assert BOOKWORM.name == "cp311-x86_64"
    options = pip_options(BOOKWORM)
    assert options[0] == "--platform=manylinux_2_36_x86_64"
    assert "--platform=manylinux_2_17_x86_64" in options
    assert "--abi=cp311" in options


@pytest.mark.parametrize("answer", ["3.9 x86_64 glibc-2.31", "3.12 x86_64 -", "", "3.12 x86_64 musl-1.2"])
def test_a_host_on_which_fleet_does_not_run_is_said(answer: str) -> None:
    with pytest.raises(UsageError):
        target_of(answer)


def test_nothing_is_unpacked_before_its_hash_is_right_and_the_mark_is_made_last() -> None:
    steps = install_steps(RELEASE)
    programs = [step.argv[0] for step in steps]
    assert programs.index("dd") < programs.index("sha256sum") < programs.index("tar")
    assert [step.takes_archive for step in steps].count(True) == 1
    (checked,) = [step for step in steps if step.argv[0] == "sha256sum"]
    assert checked.stdin == b"0" * 64 + b"  /opt/fleet/incoming/1-abc.tar.gz\n"
    assert steps[-1].argv == ("touch", "--", "/opt/fleet/releases/1-abc/.complete")


def test_a_release_is_changed_by_one_alone_who_waits_for_no_connection() -> None:
    steps = install_steps(RELEASE)
    alone = next(index for index, step in enumerate(steps) if step.alone_in)
    assert steps[alone].alone_in == "/opt/fleet/releases"
    assert not any(step.takes_archive for step in steps[alone:])
    assert not any("/opt/fleet/releases/1-abc" in step.argv for step in steps[:alone])


def test_a_host_compiles_only_what_was_not_compiled_where_it_was_built() -> None:
    there, here = (install_steps(replace(RELEASE, is_compiled=compiled)) for compiled in (False, True))
    (compiling,) = [step for step in there if step not in here]
    assert compiling.argv[-1] == "/opt/fleet/releases/1-abc/lib/python3.11/site-packages"
    assert "compileall" in compiling.argv
    assert [step for step in there if step is not compiling] == list(here)


def test_a_release_is_named_after_its_wheels_and_its_target() -> None:
    wheels = {"a-1-py3-none-any.whl": b"a", "b-1-py3-none-any.whl": b"b"}
    name = release_name(wheels, BOOKWORM)
    assert name == release_name(dict(reversed(wheels.items())), BOOKWORM)
    others = {
        release_name(wheels | {"a-1-py3-none-any.whl": b"c"}, BOOKWORM),
        release_name(wheels | {"c-1-py3-none-any.whl": b"c"}, BOOKWORM),
        release_name(wheels, replace(BOOKWORM, python=(3, 13))),
        release_name(wheels, replace(BOOKWORM, machine="aarch64")),
        release_name(wheels, replace(BOOKWORM, glibc_minor=41)),
    }
    assert len(others | {name}) == 6


@pytest.mark.parametrize(
    ("file_name", "told"), [("b.whl", "not the name of a wheel"), ("A-2-py3-none-any.whl", "one package")]
)
def test_what_is_no_wheel_or_of_a_package_that_is_there_is_refused(file_name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        release_name({"a-1-py3-none-any.whl": b"a", file_name: b"b"}, BOOKWORM)


def test_the_current_release_changes_by_one_renaming() -> None:
    *_, last = switch_steps("1-abc")
    assert last.argv == ("mv", "-T", "--", "/opt/fleet/.current.new", "/opt/fleet/current")


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True),
    st.sets(st.sampled_from("abcdefgh")),
    st.integers(1, 5),
)
def test_what_runs_and_the_newest_always_stay(found: list[str], in_use: set[str], keep: int) -> None:
    gone = to_prune(found, in_use, keep=keep)
    assert not in_use & set(gone)
    assert not set(found[:keep]) & set(gone)
    assert len(found) - len(gone) <= keep + len(in_use)


def test_a_release_loses_its_mark_before_its_files() -> None:
    first, second = (step.argv for step in prune_steps(["1-abc"]))
    assert first[-1] == "/opt/fleet/releases/1-abc/.complete"
    assert second[-1] == "/opt/fleet/releases/1-abc"


def test_complete_releases_are_told_from_their_marks() -> None:
    listing = "/opt/fleet/releases/2-b/.complete\n/opt/fleet/releases/1-a/.complete\n"
    assert releases_of(listing) == ("2-b", "1-a")
    assert releases_of("") == ()
