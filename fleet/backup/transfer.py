"""How does one rsync call run, and what did it do?"""

import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fleet.backup import owners, rsync
from fleet.backup.child import run_child
from fleet.backup.failure import BackupFailed

#: messages kept of one call
KEPT_PROBLEMS = 100
#: characters kept of one message
PROBLEM_LENGTH = 400
#: rsync reports after every file; more often than this nobody looks
PROGRESS_SECONDS = 0.5

ProgressSink = Callable[[rsync.Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The rsync of this host."""

    path: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What one rsync call did."""

    exit_code: int
    stats: rsync.Stats
    #: files that went away while they were read
    vanished: int
    #: the first messages, without those that only repeat the exit code
    problems: tuple[str, ...]


def find_rsync(name: str = "rsync") -> Program:
    """Return the rsync of this host.

    Raises BackupFailed when there is none, or it does not run.
    """
    path = shutil.which(name, path=rsync.ENVIRON["PATH"])
    if path is None:
        raise BackupFailed("this host has no rsync", hint="run `apt-get install rsync` on it")
    answer = subprocess.run(
        (path, "--version"), env=rsync.ENVIRON, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    version = rsync.parse_version(answer.stdout.decode("utf-8", "replace"))
    if answer.returncode != 0 or not version:
        raise BackupFailed(f"`{path} --version` ended with {answer.returncode} and names no version")
    return Program(path=path, version=version)


def transfer(
    copy: rsync.Copy,
    *,
    program: Program,
    inherit: tuple[int, ...] = (),
    on_progress: ProgressSink | None = None,
) -> Transfer:
    """Perform ``copy``; whatever interrupts this call ends rsync first."""
    heard = _Transcript(on_progress=on_progress)
    exit_code = run_child(
        rsync.argv(replace(copy, as_super=owners.must_say_so()), program=program.path),
        environ=rsync.ENVIRON,
        on_stdout=heard.stdout,
        on_stderr=heard.stderr,
        inherit=inherit,
    )
    return Transfer(
        exit_code=exit_code,
        stats=rsync.parse_stats("\n".join(heard.answer)),
        vanished=heard.vanished,
        problems=tuple(heard.problems),
    )


@dataclass(slots=True, kw_only=True)
class _Transcript:
    """Sorts rsync's output; holds a bounded part of it."""

    on_progress: ProgressSink | None
    answer: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    problems: list[str] = field(default_factory=list)
    vanished: int = 0
    _told: float = 0.0

    def stdout(self, line: str) -> None:
        progress = rsync.parse_progress(line) if self.on_progress else None
        if progress is None:
            self.answer.append(line)
        elif self.on_progress and time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self.on_progress(progress)

    def stderr(self, line: str) -> None:
        if not line or rsync.is_summary(line):
            return
        if rsync.vanished_path(line) is not None:
            self.vanished += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(_shortened(line))


def _shortened(line: str) -> str:
    """Return ``line`` without its middle where it is long: both ends of rsync's messages matter."""
    return line if len(line) <= PROBLEM_LENGTH else f"{line[: PROBLEM_LENGTH - 102]} … {line[-100:]}"
