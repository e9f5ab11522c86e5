"""How does rsync run, so that it ends when we end?

It gets a session of its own, dies with the thread that started it (Linux' parent-death signal), and inherits
the lock of its backup: should it live on after all, the lock stays held until its last process is gone.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: after SIGTERM, rsync gets this long to remove its temporary files
GRACE_SECONDS = 10.0
_LAUNCHER = Path(__file__).with_name("launch.py")
_CHUNK = 65_536

LineSink = Callable[[str], None]


def run_child(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    on_stdout: LineSink,
    on_stderr: LineSink,
    inherit: tuple[int, ...] = (),
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Run ``argv`` to its end and return its exit code, negative for the signal that ended it.

    Lines end in a line feed or a carriage return. Whatever is raised here or in a sink (a time limit,
    Ctrl-C) ends the child's whole process group first.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with _signals_held():
            process = subprocess.Popen(
                (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *argv),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=inherit,
                start_new_session=True,
                cwd="/",
            )
        assert process.stdout is not None
        assert process.stderr is not None
        _pump({process.stdout: on_stdout, process.stderr: on_stderr})
        return process.wait()
    finally:
        if process is not None:
            _end(process, grace_seconds)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back signals while the process is made: an exception there would lose it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Lines:
    """Cuts a stream of bytes into lines for a sink."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._sink(line.decode("utf-8", "backslashreplace"))

    def close(self) -> None:
        if self._rest:
            self._sink(self._rest.decode("utf-8", "backslashreplace"))


def _pump(sinks: Mapping[IO[bytes], LineSink]) -> None:
    with selectors.DefaultSelector() as selector:
        for stream, sink in sinks.items():
            selector.register(stream, selectors.EVENT_READ, _Lines(sink))
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, _CHUNK)
                if chunk:
                    key.data.feed(chunk)
                else:
                    key.data.close()
                    selector.unregister(key.fileobj)


def _end(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        if not _all_gone(streams, grace_seconds):
            _signal_group(process, signal.SIGKILL)
            _all_gone(streams, grace_seconds)
        process.wait()
    for stream in streams:
        stream.close()


def _all_gone(streams: Sequence[IO[bytes]], seconds: float) -> bool:
    """Wait until nobody writes to ``streams`` any more: rsync is several processes, each has them open."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not os.read(key.fd, _CHUNK):
                    selector.unregister(key.fileobj)
        return not selector.get_map()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
