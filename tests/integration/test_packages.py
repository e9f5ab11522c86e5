from pathlib import Path

import pytest

from fleet.daemons.packages import PackagesMissing, provide
from fleet.daemons.process import silent
from tests.servers import clean_environ, skipped_without_packages


def test_a_program_that_is_installed_is_used_where_it_is(tmp_path: Path) -> None:
    environ = {"FLEET_CACHE": str(tmp_path)}
    found = provide("coreutils", marker="bin/true", environ=environ, report=silent)
    assert found.root == Path("/")
    assert found.library_environ() == {}
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_package_is_one_error_with_apts_reason_and_leaves_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    environ = clean_environ() | {"FLEET_CACHE": str(tmp_path)}
    with pytest.raises(PackagesMissing, match="no-such-package") as caught:
        provide("no-such-package", marker="nowhere/at-all", environ=environ, report=told.append)
    assert caught.value.hint is not None
    assert any("no-such-package" in line for line in told)
    assert [path.name for path in (tmp_path / "packages").iterdir() if not path.name.endswith(".lock")] == []


def test_a_package_is_unpacked_once_and_then_found(tmp_path: Path) -> None:
    told: list[str] = []
    environ = clean_environ() | {"FLEET_CACHE": str(tmp_path)}
    for _ in range(2):
        with skipped_without_packages():
            found = provide("hello", marker="usr/bin/hello", environ=environ, report=told.append)
        assert found.path("usr/bin/hello").exists()
    assert len([line for line in told if line.startswith("fetching")]) == 1


def test_without_debians_tools_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackagesMissing, match="apt-get"):
        provide("hello", marker="nowhere/at-all", environ={"FLEET_CACHE": str(tmp_path)}, report=silent)
