"""How do all workers of a host run together, for development and demonstrations? As processes of their own.

On a real host systemd does this, with a unit for each worker. The decisions are pure (``after_exit``); the
supervisor carries them out.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from fleet.worker.parent import PARENT_VARIABLE

#: exit codes that a restart does not mend: 0 (it was told to stop) and 2 (usage, configuration)
NOT_RESTARTED = frozenset({0, 2})
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
#: after this long a worker's next exit counts as its first
STEADY_SECONDS = 60.0
#: beyond the longest ``stop_timeout``, workers that have been told to stop get this long to end
MARGIN_SECONDS = 30.0
POLL_SECONDS = 0.2
#: exit code after Ctrl-C
INTERRUPTED = 130
#: exit codes of a process that SIGINT, SIGQUIT or SIGTERM ended
_STOPPED = frozenset({130, 131, 143})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The worker is started again after a pause."""

    pause_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The worker stays ended."""


def after_exit(code: int, *, ran_seconds: float, restarts: int) -> Restart | GiveUp:
    """Return what follows a worker's exit; ``restarts`` counts its quick exits in a row before this one."""
    if code in NOT_RESTARTED:
        return GiveUp()
    if ran_seconds >= STEADY_SECONDS:
        return Restart(pause_seconds=FIRST_PAUSE_SECONDS)
    return Restart(pause_seconds=min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**restarts))


@dataclass(slots=True)
class _Child:
    name: str
    argv: Sequence[str]
    process: subprocess.Popen[str] | None = None
    began: float = 0.0
    restarts: int = 0
    #: monotonic time of the next start; None when it runs or has been given up
    due: float | None = 0.0
    codes: list[int] = field(default_factory=list)


class Supervisor:
    """Starts each worker, starts it again when it fails, and ends with all of them."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        environ: Mapping[str, str],
        report: Callable[[str], None],
        stop_seconds: float,
    ) -> None:
        self._children = [_Child(name=name, argv=argv) for name, argv in commands.items()]
        self._environ = {**environ, PARENT_VARIABLE: str(os.getpid())}
        self._report = report
        self._stop_seconds = stop_seconds
        #: signals that asked for the end, in their order
        self._asked: list[int] = []

    def run(self) -> int:
        """Run until told to stop or until no worker is left; return the worst exit code.

        Each signal that asks for the end is passed on, so a second one, or SIGQUIT, hurries the workers, too.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._stop)
        try:
            while not self._asked and any(map(_is_wanted, self._children)):
                for child in self._children:
                    self._tend(child)
                time.sleep(POLL_SECONDS)
        finally:
            self._end_all()
        if self._asked[:1] == [signal.SIGINT]:
            return INTERRUPTED
        last = [child.codes[-1] for child in self._children if child.codes]
        # A worker that had not come up yet ends by the very signal that it was sent.
        return max((0 if self._asked and code in _STOPPED else code for code in last), default=0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._asked.append(number)

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if child.due is not None and child.due <= now:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is None:
            return
        child.process = None
        child.codes.append(_exit_code(code))
        ran = now - child.began
        match after_exit(_exit_code(code), ran_seconds=ran, restarts=child.restarts):
            case Restart(pause_seconds=pause):
                child.restarts = 0 if ran >= STEADY_SECONDS else child.restarts + 1
                child.due = now + pause
                self._report(f"[{child.name}] ended with {code}, starts again in {pause:g} s")
            case GiveUp():
                child.due = None
                self._report(f"[{child.name}] ended with {code}")

    def _start(self, child: _Child, now: float) -> None:
        child.began, child.due = now, None
        child.process = subprocess.Popen(
            child.argv,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A Ctrl-C at the terminal reaches the supervisor alone, which passes it on once.
            start_new_session=True,
        )
        assert child.process.stdout is not None
        threading.Thread(target=self._relay, args=(child.name, child.process.stdout), daemon=True).start()

    def _relay(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._report(f"[{name}] {line.rstrip()}")

    def _end_all(self) -> None:
        running = [child for child in self._children if child.process is not None]
        deadline = time.monotonic() + self._stop_seconds
        passed_on = 0
        while running and time.monotonic() < deadline:
            # None was asked for when the workers end because the supervisor itself failed. One at a time: of
            # two equal signals at once the kernel delivers one.
            for number in self._asked[passed_on : passed_on + 1] or [signal.SIGTERM] * (not passed_on):
                _send_to_all(running, number)
                passed_on += 1
            time.sleep(POLL_SECONDS)
            running = [child for child in running if not _has_ended(child)]
        for child in running:
            assert child.process is not None
            self._report(f"[{child.name}] did not end within {self._stop_seconds:g} s and is killed")
            child.process.kill()
            child.codes.append(_exit_code(child.process.wait()))


def _send_to_all(children: Sequence[_Child], number: int) -> None:
    for child in children:
        assert child.process is not None
        child.process.send_signal(signal.SIGQUIT if number == signal.SIGQUIT else signal.SIGTERM)


def _has_ended(child: _Child) -> bool:
    assert child.process is not None
    code = child.process.poll()
    if code is not None:
        child.codes.append(_exit_code(code))
    return code is not None


def _is_wanted(child: _Child) -> bool:
    return child.process is not None or child.due is not None


def _exit_code(code: int) -> int:
    """Return a shell's exit code: 128 and the signal's number where a signal ended the process."""
    return 128 - code if code < 0 else code
