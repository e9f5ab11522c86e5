"""How far has a worker been told to go in ending? It drains, then it is cut short, then it is abandoned.

A signal only notes what was asked. ``fleet.worker.drain`` takes nothing new and lets tasks finish, on the
event loop; ``fleet.worker.guard`` sees to the deadline from a thread, whatever the event loop does.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from types import FrameType

#: the first asks to drain, a further one to hurry
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
#: how the line that a worker says of itself begins, while it drains and when it is cut short
DRAINING, ENDING = "draining", "ending"


class Stage(IntEnum):
    """What a worker does about its end."""

    #: nothing: it works
    RUN = 0
    #: it takes nothing new and waits for what runs
    DRAIN = 1
    #: what runs is stopped, to be delivered again
    CUT = 2
    #: the process ends at once
    ABANDON = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to end."""

    number: int
    #: monotonic seconds
    at: float


def stage_of(asked: Iterable[Asked], *, now: float, stop_seconds: float) -> Stage:
    """Return the stage that requests ``asked``, in their order, lead to by ``now``.

    Each request goes one stage further, SIGQUIT at least to the cut; a drain that has lasted for
    ``stop_seconds`` is cut short.
    """
    stage, began = Stage.RUN, now
    for each in asked:
        if stage is Stage.RUN:
            began = each.at
        reached = _after_deadline(stage, each.at - began, stop_seconds)
        least = Stage.CUT if each.number == signal.SIGQUIT else Stage.DRAIN
        stage = Stage(min(Stage.ABANDON, max(reached + 1, least)))
    return _after_deadline(stage, now - began, stop_seconds)


def _after_deadline(stage: Stage, lasted: float, stop_seconds: float) -> Stage:
    return Stage.CUT if stage is Stage.DRAIN and lasted >= stop_seconds else stage


class Stopping:
    """What a worker's main process has been asked so far."""

    def __init__(self, stop_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        #: how long a drain may last
        self.stop_seconds = stop_seconds
        self._clock = clock
        self._process = os.getpid()
        self._asked: list[Asked] = []

    def listen(self) -> None:
        """Take over the signals that end a worker; call it in the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def ask(self, number: int) -> None:
        """Note that signal ``number`` asks for the end; safe in a signal handler."""
        self._asked.append(Asked(number=number, at=self._clock()))

    @property
    def stage(self) -> Stage:
        """Return what the worker is to do now."""
        if not self._asked:
            return Stage.RUN
        return stage_of(tuple(self._asked), now=self._clock(), stop_seconds=self.stop_seconds)

    @property
    def last_signal(self) -> int:
        """Return the signal that was sent last."""
        return self._asked[-1].number

    @property
    def is_interrupted(self) -> bool:
        """Tell whether it began with Ctrl-C."""
        return bool(self._asked) and self._asked[0].number == signal.SIGINT

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        # A child that has just been forked still has this handler.
        if os.getpid() == self._process:
            self.ask(number)
