"""Which broker serves a case, and how is it hurt?"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import requests

from fleet.daemons.rabbitmq import RabbitNode
from tests.broker import BrokerNode
from tests.hosts.lab.brokers import Broker
from tests.hosts.lab.system import await_that

MEMORY_LIMIT, DISK_LIMIT = "1GB", "50MB"
CONSUMER_TIMEOUT_MS, CHANNEL_TICK_MS = 1_800_000, 60_000


class FaultyBroker(Protocol):
    """A broker that can be hurt."""

    @property
    def version(self) -> str:
        """How the table calls it."""
        ...

    @property
    def node(self) -> BrokerNode:
        """Where it is reached."""
        ...

    def kill(self) -> None:
        """End it at once; its data stays."""
        ...

    def restart(self) -> None:
        """Start it and return when it serves."""
        ...

    def memory_alarm(self) -> AbstractContextManager[None]:
        """Raise the memory alarm."""
        ...

    def disk_alarm(self) -> AbstractContextManager[None]:
        """Raise the disk alarm."""
        ...

    def consumer_timeout(self, seconds: float) -> AbstractContextManager[None]:
        """Close channels that hold a message for longer."""
        ...


class PrivateBroker:
    """A private node of this machine."""

    version = "3.10.8"

    def __init__(self, node: RabbitNode) -> None:
        self.node = node

    def kill(self) -> None:
        """End it at once; its data stays."""
        self.node.kill()

    def restart(self) -> None:
        """Start it and return when it serves."""
        self.node.restart()

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Raise the memory alarm: the broker reads nothing more from publishers."""
        with self._alarm("mem_alarm", ("set_vm_memory_high_watermark", "absolute"), "1000", MEMORY_LIMIT):
            yield

    @contextmanager
    def disk_alarm(self) -> Iterator[None]:
        """Raise the disk alarm, as when the disk is nearly full."""
        with self._alarm("disk_free_alarm", ("set_disk_free_limit",), "100000GB", DISK_LIMIT):
            yield

    @contextmanager
    def consumer_timeout(self, seconds: float) -> Iterator[None]:
        """Close channels that hold a message for longer; looked at each second."""
        self._set_consumer_timeout(int(seconds * 1000), 1000)
        try:
            yield
        finally:
            self._set_consumer_timeout(CONSUMER_TIMEOUT_MS, CHANNEL_TICK_MS)

    def _set_consumer_timeout(self, timeout_ms: int, tick_ms: int) -> None:
        settings = {"consumer_timeout": timeout_ms, "channel_tick_interval": tick_ms}
        each = [f"application:set_env(rabbit, {key}, {value})" for key, value in settings.items()]
        self.node.ctl("eval", f"{', '.join(each)}.")

    @contextmanager
    def _alarm(self, field: str, command: tuple[str, ...], raised: str, cleared: str) -> Iterator[None]:
        self.node.ctl(*command, raised)
        try:
            self._await_alarm(field, expected=True)
            yield
        finally:
            self.node.ctl(*command, cleared)
            self._await_alarm(field, expected=False)

    def _await_alarm(self, field: str, *, expected: bool) -> None:
        what = f"{field} should be {expected}"
        await_that(lambda: self._nodes()[0].get(field) is expected, what, timeout_seconds=30)

    def _nodes(self) -> list[dict[str, Any]]:
        login = (self.node.admin_user, self.node.admin_password.reveal())
        rows: list[dict[str, Any]] = requests.get(
            f"{self.node.management_url}/api/nodes", auth=login, timeout=10
        ).json()
        return rows


class LabBroker:
    """A node on a host of the lab."""

    def __init__(self, node: Broker, version: str) -> None:
        self.node = node
        self.version = version
        self.kill = node.kill
        self.restart = node.restart
        self.memory_alarm = node.memory_alarm
        self.disk_alarm = node.disk_alarm
        self.consumer_timeout = node.consumer_timeout
