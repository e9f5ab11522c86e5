"""Which channel may this thread of this process publish on? One that nobody else uses at the time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleet.connection import Target
from fleet.publish.channel import ConfirmedChannel


class Channels:
    """Confirmed channels that are opened when needed and lent to one thread each, never across a fork."""

    def __init__(self, target: Callable[[], Target]) -> None:
        #: asked each time: the password may have been changed since
        self._target = target
        self._idle: list[ConfirmedChannel] = []
        self._process = os.getpid()
        self._inherited: list[ConfirmedChannel] = []

    @contextmanager
    def lend(self) -> Iterator[ConfirmedChannel]:
        """Lend a channel inside the ``with`` block; one that an error came over is closed at once."""
        self._leave_to_parent()
        channel = self._take(self._target())
        try:
            yield channel
        except BaseException:
            channel.drop()
            raise
        self._idle.append(channel)

    def close(self) -> None:
        """Close the channels that nobody uses at the time."""
        self._leave_to_parent()
        idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def _take(self, target: Target) -> ConfirmedChannel:
        try:
            channel = self._idle.pop()
        except IndexError:
            return ConfirmedChannel(target)
        if channel.target == target:
            return channel
        channel.drop()
        return ConfirmedChannel(target)

    def _leave_to_parent(self) -> None:
        if self._process != os.getpid():
            # Kept for good: py-amqp shuts a socket down when it is forgotten, and that is the parent's, too.
            self._inherited, self._idle, self._process = self._idle, [], os.getpid()
