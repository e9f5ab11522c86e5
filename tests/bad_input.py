"""Bad input and what an operator reads about it: one golden file per case.

``tests/cases/bad-input/NAME.expected`` is a transcript: the command, all that it printed, its exit status.
``NAME.toml`` beside it, where there is one, is the fleet file, and ``NAME/`` holds further files of the case.
``python -m tests.bad_input write`` plays every case again and rewrites the transcripts; read the difference
before you commit it.
"""

import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from fleet.cli.main import main

DIRECTORY = Path(__file__).parent / "cases" / "bad-input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    #: such as ``fleet config check``
    command: str
    #: text of the fleet file; None where the case has none
    fleet_file: str | None
    #: directory with further files; need not exist
    files: Path
    #: the whole transcript
    expected: str


#: runs the arguments after ``fleet`` in a directory
Run = Callable[[tuple[str, ...], Path], Ended]


def cases(directory: Path = DIRECTORY) -> list[Case]:
    return [_read(path) for path in sorted(directory.glob("*.expected"))]


def _read(path: Path) -> Case:
    expected = path.read_text(encoding="utf-8")
    first = expected.partition("\n")[0]
    assert first.startswith("$ fleet "), f"{path} must begin with `$ fleet …`"
    fleet_file = path.with_suffix(".toml")
    return Case(
        name=path.stem,
        command=first.removeprefix("$ "),
        fleet_file=fleet_file.read_text(encoding="utf-8") if fleet_file.exists() else None,
        files=path.with_suffix(""),
        expected=expected,
    )


def play(case: Case, directory: Path, run: Run, *, masks: Mapping[str, str] | None = None) -> str:
    """Run the case's command in ``directory``, which must be empty, and return the transcript.

    ``masks`` (seen → shown) hides what differs from run to run, such as ports.
    """
    if case.files.is_dir():
        shutil.copytree(case.files, directory, dirs_exist_ok=True)
    if case.fleet_file is not None:
        (directory / "fleet.toml").write_text(case.fleet_file, encoding="utf-8")
    ended = run(tuple(shlex.split(case.command)[1:]), directory)
    text = ended.stdout + ended.stderr
    for seen, shown in (masks or {}).items():
        text = text.replace(seen, shown)
    return f"$ {case.command}\n{text}exit status {ended.exit_status}\n"


def in_process(arguments: tuple[str, ...], directory: Path) -> Ended:
    """Run ``fleet`` as its console script does, without the cost of a process."""
    stdout, stderr, exit_status = io.StringIO(), io.StringIO(), 0
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    with (
        chdir(directory),
        patch.dict(os.environ, environ, clear=True),
        patch.object(sys, "argv", ["fleet", *arguments]),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as ended:
            exit_status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return Ended(exit_status=exit_status, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def write() -> None:
    """Rewrite every transcript; a new ``NAME.toml`` begins as a case of ``fleet config check``."""
    for fleet_file in DIRECTORY.glob("*.toml"):
        expected = fleet_file.with_suffix(".expected")
        if not expected.exists() or not expected.read_text().startswith("$ "):
            expected.write_text("$ fleet config check\n")
    for case in cases():
        with TemporaryDirectory() as directory:
            transcript = play(case, Path(directory), in_process)
        (DIRECTORY / f"{case.name}.expected").write_text(transcript, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        sys.exit("usage: python -m tests.bad_input write")
    write()
