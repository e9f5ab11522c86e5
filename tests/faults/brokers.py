"""Which broker serves a case, and how is it hurt?"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tests import broker_limits
from tests.broker import BrokerNode


class MortalNode(BrokerNode, Protocol):
    """A node that can be ended and started: a private one of this machine, or one on a host of the lab."""

    def kill(self) -> None:
        """End it at once; its data stays."""
        ...

    def restart(self) -> None:
        """Start it and return when it serves."""
        ...


@dataclass(frozen=True, slots=True)
class FaultyBroker:
    """A broker that can be hurt."""

    #: where it is reached
    node: MortalNode
    #: how the table calls it
    version: str

    def kill(self) -> None:
        """End it at once; its data stays."""
        self.node.kill()

    def restart(self) -> None:
        """Start it and return when it serves."""
        self.node.restart()

    def memory_alarm(self) -> AbstractContextManager[None]:
        """Raise the memory alarm: the broker reads nothing more from publishers."""
        return broker_limits.memory_alarm(self.node)

    def disk_alarm(self) -> AbstractContextManager[None]:
        """Raise the disk alarm, as when the disk is nearly full."""
        return broker_limits.disk_alarm(self.node)

    def consumer_timeout(self, seconds: float) -> AbstractContextManager[None]:
        """Close channels that keep a message unacknowledged for longer."""
        return broker_limits.consumer_timeout(self.node, seconds)
