"""Which Celery settings does any program of this fleet need to reach its broker, and why each one?

Pure. No setting holds a secret; the password comes when a connection is made (``fleet.worker.connection``).
"""

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fleet.connection import address
from fleet.model import Broker, Fleet, Kind, Node

#: seconds between heartbeats; a silent peer is given up after two
HEARTBEAT_SECONDS = 10
SILENCE_SECONDS = 2 * HEARTBEAT_SECONDS
#: seconds that connecting may take
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One Celery setting and the reason for its value."""

    name: str
    value: Any
    reason: str


def connection_settings(fleet: Fleet, *, user: str | None = None) -> tuple[Setting, ...]:
    """Return what any program needs to reach this fleet's broker through Celery; it holds no password."""
    user = user or fleet.broker.user
    return (
        Setting(
            name="broker_url",
            value=[_url(node, fleet.broker, user) for node in fleet.broker.nodes],
            reason="every node is tried in turn; the password comes when a connection logs in",
        ),
        Setting(name="broker_use_ssl", value=_tls(fleet), reason="the certificate is verified, or no TLS"),
        Setting(
            name="broker_heartbeat",
            value=HEARTBEAT_SECONDS,
            reason="a cut cable is noticed within 20 s; Celery's 120 s leaves tasks with a dead worker",
        ),
        Setting(
            name="broker_connection_timeout",
            value=CONNECT_SECONDS,
            reason="a node that does not answer must not hold up the next one for long",
        ),
        Setting(
            name="accept_content",
            value=["json"],
            reason="pickle would let whoever may enqueue run any code",
        ),
    )


def _url(node: Node, broker: Broker, user: str) -> str:
    scheme = {Kind.RABBITMQ: "amqp", Kind.REDIS: "redis"}[broker.kind] + ("s" if node.tls else "")
    login = f"{quote(user, safe='')}@" if user else ""
    return f"{scheme}://{login}{address(node)}/{quote(broker.vhost, safe='')}"


def _tls(fleet: Fleet) -> dict[str, Any] | bool:
    tls = fleet.broker.tls
    if not any(node.tls for node in fleet.broker.nodes):
        return False
    prefix = "ssl_" if fleet.broker.kind is Kind.REDIS else ""
    files = {
        "ca_certs": tls.ca if tls else None,
        "certfile": tls.cert if tls else None,
        "keyfile": tls.key if tls else None,
    }
    options: dict[str, Any] = {f"{prefix}{name}": path for name, path in files.items() if path}
    # For RabbitMQ the name is compared, too: FleetConnection says which one it must be.
    named = {"ssl_check_hostname": True} if prefix else {}
    return options | named | {f"{prefix}cert_reqs": ssl.CERT_REQUIRED}
