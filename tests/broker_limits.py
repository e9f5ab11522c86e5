"""How is a broker made short of memory or disk, or of patience with its consumers, for a while?"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.broker import BrokerNode
from tests.hosts.lab.system import await_that

ALARM_SECONDS = 30.0
#: what the nodes of tests are configured with, and return to after an alarm
MEMORY_LIMIT, DISK_LIMIT = "1GB", "50MB"
CONSUMER_TIMEOUT_MS, CHANNEL_TICK_MS = 1_800_000, 60_000


@contextmanager
def memory_alarm(node: BrokerNode) -> Iterator[None]:
    """Raise the memory alarm: the broker reads nothing more from publishers."""
    with _alarm(node, "mem_alarm", ("set_vm_memory_high_watermark", "absolute"), "1000", MEMORY_LIMIT):
        yield


@contextmanager
def disk_alarm(node: BrokerNode) -> Iterator[None]:
    """Raise the disk alarm, as when the disk is nearly full."""
    with _alarm(node, "disk_free_alarm", ("set_disk_free_limit",), "100000GB", DISK_LIMIT):
        yield


@contextmanager
def consumer_timeout(node: BrokerNode, seconds: float) -> Iterator[None]:
    """Close channels that keep a message unacknowledged for longer; looked at each second."""
    _set_consumer_timeout(node, int(seconds * 1000), 1000)
    try:
        yield
    finally:
        _set_consumer_timeout(node, CONSUMER_TIMEOUT_MS, CHANNEL_TICK_MS)


def _set_consumer_timeout(node: BrokerNode, timeout_ms: int, tick_ms: int) -> None:
    # Read by each channel when it is opened.
    settings = {"consumer_timeout": timeout_ms, "channel_tick_interval": tick_ms}
    each = [f"application:set_env(rabbit, {key}, {value})" for key, value in settings.items()]
    node.ctl("eval", f"{', '.join(each)}.")


@contextmanager
def _alarm(
    node: BrokerNode, field: str, command: tuple[str, ...], raised: str, cleared: str
) -> Iterator[None]:
    node.ctl(*command, raised)
    try:
        _await_alarm(node, field, expected=True)
        yield
    finally:
        node.ctl(*command, cleared)
        _await_alarm(node, field, expected=False)


def _await_alarm(node: BrokerNode, field: str, *, expected: bool) -> None:
    await_that(
        lambda: _own_row(node).get(field) is expected,
        f"{field} of {node.management_url} should be {expected}",
        timeout_seconds=ALARM_SECONDS,
    )


def _own_row(node: BrokerNode) -> dict[str, Any]:
    """Return what the node's HTTP API says of itself; nothing when it does not answer."""
    login = (node.admin_user, node.admin_password.reveal())
    try:
        overview = requests.get(f"{node.management_url}/api/overview", auth=login, timeout=10).json()
        name = overview["node"]
        row: dict[str, Any] = requests.get(
            f"{node.management_url}/api/nodes/{name}", auth=login, timeout=10
        ).json()
    except (requests.RequestException, KeyError):
        return {}
    return row
