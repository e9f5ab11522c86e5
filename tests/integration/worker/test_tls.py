"""Do Celery's own connections verify the broker's certificate?"""

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.config.parse import parse
from fleet.model import Node, Tls
from fleet.worker.app import build_app
from fleet.worker.context import worker_context
from tests.broker import BrokerVhost
from tests.certificates import Authority
from tests.integration.sending.proxy import Proxy


@contextmanager
def connections(
    vhost: BrokerVhost, signed_by: Authority, trusted: Authority, name: str
) -> Iterator[list[Any]]:
    """Give a worker's connections to a broker whose certificate carries ``name``."""
    with Proxy(vhost.node.port, tls=signed_by.issue(name).server_context()) as proxy:
        fleet = parse(vhost.fleet_toml(), source="fleet.toml")
        node = Node(host="127.0.0.1", port=proxy.port, tls=True)
        broker = replace(fleet.broker, nodes=(node,), tls=Tls(ca=str(trusted.cert)))
        fleet = replace(fleet, broker=broker)
        app = build_app(worker_context(fleet, host="alpha", worker="shared", environ={}))
        yield [app.connection_for_read(), app.connection_for_write()]


def test_a_trusted_broker_is_connected_to(vhost: BrokerVhost, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with connections(vhost, authority, authority, "127.0.0.1") as made:
        for connection in made:
            with closing(connection):
                assert connection.connect().connected


def test_an_unknown_authority_is_not_trusted(vhost: BrokerVhost, tmp_path: Path) -> None:
    known, unknown = Authority.create(tmp_path, "known"), Authority.create(tmp_path, "unknown")
    with connections(vhost, unknown, known, "127.0.0.1") as made:
        for connection in made:
            with pytest.raises(ssl.SSLCertVerificationError):
                connection.connect()


def test_a_certificate_for_another_name_is_not_trusted(vhost: BrokerVhost, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    with connections(vhost, authority, authority, "192.0.2.7") as made:
        for connection in made:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
                connection.connect()
