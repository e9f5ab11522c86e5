"""Which thread may send now? One at a time: the broker's answers on one connection are one thread's."""

import os
import threading
from types import TracebackType
from typing import Self
from weakref import WeakSet

from fleet.errors import UsageError


class Turn:
    """Lets one thread in at a time; the others wait. A forked child begins with nobody inside.

    Entering raises UsageError in the thread that is inside already, as a signal handler may be: what it
    interrupted goes on only when it has returned, so it would wait for itself.
    """

    def __init__(self) -> None:
        self.renew()
        _turns.add(self)

    def renew(self) -> None:
        """Let somebody in although the one before never left: it was a thread of the parent process."""
        # Lets its owner in again. A signal that comes between the lock and the note finds the lock taken and
        # nobody inside, and may then go first.
        self._lock = threading.RLock()
        self._is_inside = False

    def __enter__(self) -> Self:
        self._lock.acquire()
        if self._is_inside:
            self._lock.release()
            raise UsageError(
                "this client is in the middle of sending in the same thread, which cannot send twice at once",
                hint="have a signal handler take a note, and send when what it interrupted has returned",
            )
        self._is_inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_inside = False
        self._lock.release()


#: of this process
_turns: WeakSet[Turn] = WeakSet()


def _begin_anew() -> None:
    for turn in _turns:
        turn.renew()


os.register_at_fork(after_in_child=_begin_anew)
