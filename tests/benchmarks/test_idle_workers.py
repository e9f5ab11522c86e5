"""What do fifty workers that have nothing to do ask of the broker?"""

import time

import pytest

from fleet.daemons.process import free_ports
from tests.broker import BrokerVhost
from tests.servers import Provisioned, StartWorker

WORKERS = 50
IDLE_SECONDS = 60.0
#: until what was sent at the start has been counted
SETTLING_SECONDS = 10.0
COUNTS = ("publish", "deliver_get", "ack", "redeliver")


@pytest.mark.timeout(900)
def test_workers_without_work_send_and_receive_next_to_nothing(
    provisioned: Provisioned, start_worker: StartWorker
) -> None:
    file = provisioned(_body())
    for number in range(WORKERS):
        start_worker(file, "bench", host=f"host{number}")
    time.sleep(SETTLING_SECONDS)
    messages, octets = _messages(provisioned.vhost), _octets(provisioned.vhost)
    time.sleep(IDLE_SECONDS)
    each = WORKERS * IDLE_SECONDS
    per_second = (_messages(provisioned.vhost) - messages) / each
    bytes_per_second = (_octets(provisioned.vhost) - octets) / each
    print(f"\n{WORKERS} idle workers: {per_second:.3f} messages/s and {bytes_per_second:.1f} bytes/s each")
    assert per_second <= 0.2


def _messages(vhost: BrokerVhost) -> int:
    """Return how many messages the broker has taken and given away on ``vhost``."""
    counted = vhost.api("GET", f"vhosts/{vhost.name}").get("message_stats", {})
    return sum(int(counted.get(name, 0)) for name in COUNTS)


def _octets(vhost: BrokerVhost) -> int:
    """Return the bytes that the connections of ``vhost`` have carried both ways, heartbeats included."""
    rows = vhost.api("GET", f"vhosts/{vhost.name}/connections")
    assert len(rows) >= WORKERS
    return sum(int(row["recv_oct"]) + int(row["send_oct"]) for row in rows)


def _body() -> str:
    hosts = "".join(f'[hosts.host{number}]\naddress = "127.0.1.{number + 1}"\n' for number in range(WORKERS))
    return f"""
{hosts}
[workers.bench]
hosts = ["*"]
queues = ["email", "default"]
concurrency = 1
metrics_port = {free_ports(1)[0]}

[workers.backup]
hosts = ["host0"]
queues = ["backup"]
"""
