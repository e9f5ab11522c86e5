"""What is a case? One thing that breaks, and how many tasks may be started again by it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.brokers import FaultyBroker
from tests.faults.hosts import HostStage
from tests.faults.stage import Stage
from tests.hosts.lab.brokers import Cluster

FLEET, DEFAULTS, BEST = "fleet", "defaults", "best"
ALL = (FLEET, DEFAULTS, BEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that breaks."""

    name: str
    #: publishes, breaks, mends and waits; what is left is counted after it
    act: Callable[[Stage, FaultyBroker], None]
    #: how many tasks of the fleet may be started again: those that ran at the fault, or that the broker held
    #: for unacknowledged
    reruns: int
    #: how many of them with nobody killed between effect and acknowledgement, where that is less than all
    running: int | None = None
    #: how many tasks a sender may have sent twice, because its confirm was lost with the broker: both copies
    #: may run at the same time
    resent: int = 0
    settings: tuple[str, ...] = ALL
    #: more lines for the fleet's queue of short tasks
    short: str = ""
    #: how long to wait for the queues to be empty, in seconds
    settle_seconds: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCase:
    """One thing that breaks on hosts or between them."""

    name: str
    act: Callable[[HostStage, Cluster], None]
    #: how many tasks may be started again, and how many be there twice, as above
    reruns: int
    running: int | None = None
    resent: int = 0
    settle_seconds: float = 180.0
