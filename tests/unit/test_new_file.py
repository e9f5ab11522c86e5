"""A file that a command writes is whole or absent, its owner's alone, and never in another one's place."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.cli import new_file as module
from fleet.cli.new_file import new_file
from fleet.errors import FleetError, UsageError

KILLED = """
import os, signal, sys
from pathlib import Path
from fleet.cli.new_file import new_file
with new_file(Path(sys.argv[1]), option="--output") as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def write(path: Path, meanwhile: Callable[[], object]) -> None:
    with new_file(path, option="--output") as file:
        file.write("ours")
        meanwhile()


def interrupt() -> None:
    raise KeyboardInterrupt


def fill_the_disk() -> None:
    with Path("/dev/full").open("w") as full:
        full.write("x")


@pytest.fixture(params=["nameless", "named"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path in a directory whose file system has files without a name, or answers that it has none."""
    if request.param == "named":
        # A directory is opened for writing: EISDIR, as where O_TMPFILE is not known.
        monkeypatch.setattr(module, "_NAMELESS", os.O_WRONLY)
    return tmp_path / "copy.jsonl"


def test_it_appears_when_all_is_written_and_only_its_owner_can_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        with new_file(path, option="--output") as file:
            file.write("secret \udcff")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"secret \xff"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(path.parent) == [path.name]


def test_a_file_that_came_meanwhile_stays_as_it_is(path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        write(path, lambda: path.write_text("theirs"))
    assert (path.read_text(), names(path.parent)) == ("theirs", [path.name])


def test_two_at_once_do_not_disturb_each_other(path: Path) -> None:
    other = path.with_name("other")
    with new_file(path, option="--output") as file, new_file(other, option="--output") as second:
        file.write("one")
        second.write("two")
    assert (path.read_text(), other.read_text()) == ("one", "two")
    assert len(names(path.parent)) == 2


def test_an_interruption_leaves_nothing(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupt)
    assert names(path.parent) == []


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", KILLED, str(tmp_path / "copy.jsonl"))
    assert subprocess.run(argv, timeout=30, check=False).returncode == -signal.SIGKILL
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_what_is_there_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "file":
        path.write_text("theirs")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists already"):
        write(path, lambda: pytest.fail("it was opened"))
    assert names(tmp_path) == ["there"]


def test_a_directory_that_is_missing_is_a_wrong_option_and_a_full_disk_is_not(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "copy.jsonl"
    with pytest.raises(UsageError, match=r"--output: .*: No such file"):
        write(missing, lambda: pytest.fail("it was opened"))
    with pytest.raises(FleetError, match="No space left"):
        write(tmp_path / "copy.jsonl", fill_the_disk)
    assert names(tmp_path) == []
