"""Commands that run in one trip, here in the place of a host."""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.hosts.performing import Step, perform
from provisioning.hosts.runner import Ran
from tests.local_runner import LocalProcess


class Here(LocalProcess):
    """Runs everything as who runs the test."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Iterable[bytes] = (),
        as_root: bool = False,
        timeout_seconds: float = 60.0,
    ) -> Ran:
        assert as_root
        here = (sys.executable, *argv[1:])
        return LocalProcess.run(self, here, stdin=stdin, timeout_seconds=timeout_seconds)


def writing(path: Path) -> Step:
    return Step(argv=("dd", f"of={path}", "status=none"), stdin=b"given")


def test_commands_run_in_order_and_one_takes_the_archive(tmp_path: Path) -> None:
    archive, copy, there = tmp_path / "archive", tmp_path / "copy", tmp_path / "there"
    archive.write_bytes(bytes(range(256)) * 20_000)
    steps = (
        writing(there),
        Step(argv=("dd", f"of={copy}", "bs=1M", "status=none"), takes_archive=True),
        Step(argv=("cmp", "--", str(archive), str(copy))),
    )
    assert perform(Here(), steps, archive=archive)
    assert there.read_text() == "given"


def test_nothing_runs_where_it_was_done_before(tmp_path: Path) -> None:
    mark, archive = tmp_path / "mark", tmp_path / "archive"
    mark.touch()
    archive.write_bytes(bytes(3_000_000))
    steps = (Step(argv=("touch", str(tmp_path / "new"))), Step(argv=("cat",), takes_archive=True))
    assert not perform(Here(), steps, archive=archive, unless=str(mark))
    assert not (tmp_path / "new").exists()
    assert perform(Here(), steps, archive=archive, unless=str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("ls", "/absent"), r"here: `ls /absent` ended with 2: .*No such file"),
        (("false",), "`false` ended with 1: no word"),
        (("no-such-program",), "`no-such-program` ended with 127: .*No such file"),
        (("sleep", "60"), "`sleep 60` ended with 124: .*timed out after 0.2 s"),
    ],
)
def test_the_first_that_fails_is_the_last_and_says_why(
    argv: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    failing, later = Step(argv=argv, timeout_seconds=0.2), Step(argv=("touch", str(tmp_path / "later")))
    with pytest.raises(FleetError, match=told):
        perform(Here(), (failing, later))
    assert not (tmp_path / "later").exists()


def test_two_who_do_the_same_at_once_do_it_one_after_the_other_and_only_once(tmp_path: Path) -> None:
    mark, log = tmp_path / "mark", tmp_path / "log"
    # Each says when it begins and ends, and takes long enough for the other to come in between.
    slow = f"echo begin >> {log}; sleep 0.3; echo end >> {log}"
    steps = (
        Step(argv=("sh", "-c", slow), alone_in=str(tmp_path)),
        Step(argv=("touch", str(mark))),
    )
    with ThreadPoolExecutor() as pool:
        ran = list(pool.map(lambda _: perform(Here(), steps, unless=str(mark)), range(2)))
    assert sorted(ran) == [False, True]
    assert log.read_text().split() == ["begin", "end"]


def test_what_was_begun_alone_and_failed_is_undone_and_nothing_that_another_may_have_begun(
    tmp_path: Path,
) -> None:
    half = tmp_path / "half"
    make, fail = Step(argv=("mkdir", str(half))), Step(argv=("false",))
    undo = Step(argv=("rmdir", "--", str(half)))
    with pytest.raises(FleetError, match="`false` ended with 1"):
        perform(Here(), (make, fail), undo=undo)
    assert half.is_dir()
    with pytest.raises(FleetError, match="`false` ended with 1"):
        perform(Here(), (replace(fail, alone_in=str(tmp_path)),), undo=undo)
    assert not half.exists()


def test_what_a_command_has_begun_that_is_not_alone_is_undone_when_it_fails(tmp_path: Path) -> None:
    archive, there = tmp_path / "archive", tmp_path / "there"
    archive.write_bytes(bytes(3_000_000))
    # As with a disk that is full after the first megabyte.
    taking = f"head -c 1000000 > {there}; exit 1"
    undo = Step(argv=("rm", "--", str(there)))
    step = Step(argv=("sh", "-c", taking), takes_archive=True, undo=undo)
    with pytest.raises(FleetError, match="ended with 1"):
        perform(Here(), (step,), archive=archive, undo=Step(argv=("touch", str(tmp_path / "other"))))
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_host_whose_python_does_not_run_is_told_of() -> None:
    class Without(Here):
        def run(self, *_: object, **__: object) -> Ran:
            return Ran(exit_code=127, stdout=b"", stderr=b"python3: not found\n")

    with pytest.raises(FleetError, match="here: `python3` ended with 127: python3: not found"):
        perform(Without(), (Step(argv=("true",)),))
