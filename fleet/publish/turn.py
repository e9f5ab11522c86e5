"""Which thread may send now? One at a time: the broker's answers on one connection are one thread's."""

import os
import threading
from types import TracebackType
from typing import Self
from weakref import WeakSet


class Turn:
    """Lets one thread in at a time; the others wait. A forked child begins with nobody inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _turns.add(self)

    def renew(self) -> None:
        """Let somebody in although the one before never left: it was a thread of the parent process."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


#: of this process
_turns: WeakSet[Turn] = WeakSet()


def _begin_anew() -> None:
    for turn in _turns:
        turn.renew()


os.register_at_fork(after_in_child=_begin_anew)
