"""How does a loop sleep until its time has come or it is told to stop?"""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self


class StopSignal:
    """SIGTERM and Ctrl-C as something to wait for; the signals mean what they did before afterwards.

    A pipe, because ``threading.Event.set`` in a signal handler can meet the lock that its own thread holds.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: dict[signal.Signals, object] = {}
        #: a stop was asked for
        self.is_set = False

    def set(self) -> None:
        """Ask for a stop; wakes the one who waits."""
        self.is_set = True
        os.write(self._writer, b"x")

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds`` or until a stop is asked for; return whether it was."""
        if not self.is_set:
            select.select([self._reader], [], [], max(0.0, seconds))
        return self.is_set

    def __enter__(self) -> Self:
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal returned
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self.is_set:
            self.set()
