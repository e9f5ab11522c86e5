"""What was built before is known again as long as nothing that it is made of was touched."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.fleetfile import read
from fleet.hosts.archives import put
from fleet.hosts.built import forget, recall, remember, stamp
from fleet.hosts.target import Target
from fleet.model import Fleet
from fleet.ops.provision_hosts import Releases

BOOKWORM = Target(python=(3, 11), machine="x86_64", glibc_minor=36)
FLEET_TOML = """\
[fleet]
name = "shop"

[broker]
nodes = ["amqp://localhost"]
password = "env:PASSWORD"

[hosts.alpha]

[queues.shop]
tasks = ["shop.*"]

[workers.shop]
queues = ["shop"]

[tasks]
imports = ["shop", "parts.deep"]
"""


@pytest.fixture
def declared(tmp_path: Path) -> Fleet:
    (tmp_path / "shop.py").write_text("A = 1\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "deep.py").write_text("B = 1\n")
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET_TOML)
    return read(str(file))


def stamped(declared: Fleet, cache: Path, *, target: Target = BOOKWORM, wheels: tuple[Path, ...] = ()) -> str:
    return stamp(declared, target, cache=cache, wheels=wheels, extras=())


def test_a_file_that_was_written_anew_is_seen_though_its_size_and_time_are_as_before(
    declared: Fleet, tmp_path: Path
) -> None:
    before = stamped(declared, tmp_path)
    assert stamped(declared, tmp_path) == before
    for path in (tmp_path / "shop.py", tmp_path / "parts" / "deep.py"):
        seen = path.stat()
        path.write_text(path.read_text().replace("1", "2"))
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert path.stat().st_mtime_ns == seen.st_mtime_ns
        after = stamped(declared, tmp_path)
        assert after != before
        before = after


def test_files_that_come_and_go_and_another_target_are_seen(declared: Fleet, tmp_path: Path) -> None:
    wheel = tmp_path / "more-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    downloaded = tmp_path / "wheels" / f"{BOOKWORM.name}-0123"
    downloaded.mkdir(parents=True)
    (downloaded / "amqp.whl").write_bytes(b"amqp")
    first = stamped(declared, tmp_path)
    seen = {first, stamped(declared, tmp_path, wheels=(wheel,))}
    seen.add(stamped(declared, tmp_path, target=Target(python=(3, 13), machine="x86_64", glibc_minor=41)))
    (tmp_path / "parts" / "new.txt").write_text("data\n")
    seen.add(stamped(declared, tmp_path))
    (downloaded / "amqp.whl").unlink()
    seen.add(stamped(declared, tmp_path))
    assert len(seen) == 5


def test_a_release_is_known_again_until_its_archive_is_gone_or_cut_short(tmp_path: Path) -> None:
    release = put("1-abc", BOOKWORM, b"archive", cache=tmp_path, is_compiled=True, parts=())
    assert recall("stamp", BOOKWORM, cache=tmp_path) is None
    remember("stamp", release, cache=tmp_path)
    assert recall("stamp", BOOKWORM, cache=tmp_path) == release
    assert recall("another", BOOKWORM, cache=tmp_path) is None
    assert recall("stamp", replace(BOOKWORM, glibc_minor=41), cache=tmp_path) is None
    release.archive.write_bytes(b"arch")
    assert recall("stamp", BOOKWORM, cache=tmp_path) is None
    release.archive.unlink()
    assert recall("stamp", BOOKWORM, cache=tmp_path) is None


def test_nobody_is_told_that_a_release_is_built_which_is_there(declared: Fleet, tmp_path: Path) -> None:
    cache, said = tmp_path / "cache", list[str]()
    release = put("1-abc", BOOKWORM, b"archive", cache=cache, is_compiled=True, parts=())
    remember(stamped(declared, cache), release, cache=cache)
    releases = Releases(fleet=declared, cache=cache, report=said.append)
    assert releases.build(BOOKWORM) == release
    assert said == []


def test_before_a_release_is_built_it_is_told_once(
    declared: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def no_index(*_: object) -> None:
        assert said == [f"building the release for {BOOKWORM.name}"]
        raise FleetError("pip cannot fetch")

    monkeypatch.setattr("fleet.hosts.fetched._download", no_index)
    releases = Releases(fleet=declared, cache=tmp_path / "cache", report=said.append)
    for _ in range(2):
        with pytest.raises(FleetError, match="pip cannot fetch"):
            releases.build(BOOKWORM)
    assert len(said) == 1


def test_what_is_noted_on_an_archive_goes_with_it(tmp_path: Path) -> None:
    for name in ("1-abc", "2-def"):
        release = put(name, BOOKWORM, b"archive", cache=tmp_path, is_compiled=True, parts=())
        remember(name, release, cache=tmp_path)
    release.archive.unlink()
    forget(BOOKWORM, cache=tmp_path)
    assert [path.stem for path in release.archive.parent.glob("built/*")] == ["1-abc"]
