import gzip
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from fleet.errors import FleetError
from fleet.metrics import http as metrics_http
from fleet.metrics.registry import counter, exposition
from fleet.metrics.server import MetricsServer

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Checks:
    """Health that a test can change."""

    def __init__(self) -> None:
        self.good = True
        self.broken = False

    def alive(self) -> tuple[bool, dict[str, object]]:
        if self.broken:
            raise RuntimeError("secret detail")
        return self.good, {"pool": 2}

    def ready(self) -> tuple[bool, dict[str, object]]:
        return False, {"reason": "not consuming", "queues": ["fleet.email"]}


class BrokenCollector:
    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        raise OSError("the disk is gone")


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter("fleet_metrics_errors_total", registry).labels("scrape").inc(3)
    return registry


@pytest.fixture
def server(registry: CollectorRegistry, checks: Checks) -> Iterator[MetricsServer]:
    with running(MetricsServer(exposition(registry), checks)) as server:
        yield server


@contextmanager
def running(server: MetricsServer) -> Iterator[MetricsServer]:
    server.start()
    try:
        yield server
    finally:
        server.close()


def ask(
    server: MetricsServer, path: str, *, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def test_metrics_are_served_as_plain_text(server: MetricsServer) -> None:
    status, headers, body = ask(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'fleet_metrics_errors_total{where="scrape"} 3.0' in body


def test_metrics_are_served_as_openmetrics_to_those_who_ask(server: MetricsServer) -> None:
    _, headers, body = ask(server, "/metrics", Accept=OPENMETRICS)
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


def test_metrics_are_compressed_for_those_who_ask(server: MetricsServer) -> None:
    _, headers, body = ask(server, "/metrics", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert b"fleet_metrics_errors_total" in gzip.decompress(body)


def test_a_head_request_gets_the_headers_alone(server: MetricsServer) -> None:
    status, headers, body = ask(server, "/metrics", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/metrics/", "/metrics/../etc/passwd"])
def test_any_other_path_is_not_found(server: MetricsServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_any_other_method_is_refused(server: MetricsServer) -> None:
    assert ask(server, "/metrics", method="POST")[0] == 501


def test_the_answer_does_not_tell_which_python_runs(server: MetricsServer) -> None:
    assert ask(server, "/metrics")[1]["Server"].strip() == "fleet"


def test_health_answers_with_its_detail(server: MetricsServer) -> None:
    status, headers, body = ask(server, "/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True, "pool": 2})
    assert headers["Content-Type"] == "application/json"


def test_ill_health_is_service_unavailable(server: MetricsServer, checks: Checks) -> None:
    checks.good = False
    assert ask(server, "/healthz")[0] == 503
    status, _, body = ask(server, "/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "not consuming")


def test_a_check_that_raises_is_ill_health_without_its_text(server: MetricsServer, checks: Checks) -> None:
    checks.broken = True
    status, _, body = ask(server, "/healthz")
    assert (status, json.loads(body)) == (503, {"ok": False, "error": "RuntimeError"})


def test_a_collector_that_fails_fails_the_scrape_and_not_the_server(checks: Checks) -> None:
    registry = CollectorRegistry()
    registry.register(BrokenCollector())
    with running(MetricsServer(exposition(registry), checks)) as server:
        assert ask(server, "/metrics")[0] == 500
        assert ask(server, "/healthz")[0] == 200


def test_silent_and_dripping_connections_keep_no_scrape_waiting(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        socket.create_connection(("127.0.0.1", server.port)) as dripping,
    ):
        dripping.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        started = time.monotonic()
        assert ask(server, "/metrics")[0] == 200
        assert time.monotonic() - started < 2


def test_a_silent_connection_is_closed_when_its_time_is_over(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_http, "REQUEST_TIMEOUT_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_connections_beyond_the_limit_are_closed_at_once(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_http, "MAX_CONNECTIONS", 1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as first:
        first.sendall(b"GET ")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as second:
            assert second.recv(1) == b""
        first.sendall(b"/healthz HTTP/1.0\r\n\r\n")
        assert first.recv(12) == b"HTTP/1.0 200"


def test_a_port_in_use_is_one_clear_error_with_a_hint(server: MetricsServer, checks: Checks) -> None:
    second = MetricsServer(exposition(CollectorRegistry()), checks, port=server.port)
    with pytest.raises(FleetError, match=f"127.0.0.1:{server.port}: Address already in use") as caught:
        second.start()
    assert "ss -ltnp" in str(caught.value.hint)


def test_the_default_address_is_loopback(server: MetricsServer) -> None:
    assert server._server is not None
    assert server._server.server_address[0] == "127.0.0.1"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12+: threads and fork
def test_a_forked_child_holds_neither_the_port_nor_a_connection(
    registry: CollectorRegistry, checks: Checks
) -> None:
    server = MetricsServer(exposition(registry), checks)
    server.start()
    port = server.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /healthz ")
        _await_accepted(server)
        child = _fork_a_child_that_waits()
        try:
            server.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(b"HTTP/1.0\r\n\r\n")
            assert _read_to_end(connection).startswith(b"HTTP/1.0 200")
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _await_accepted(server: MetricsServer) -> None:
    """Return once a connection has its thread: closing the server resets one that still waits."""
    deadline = time.monotonic() + 10
    while server._server is not None and not server._server.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _fork_a_child_that_waits() -> int:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"x")
        signal.pause()
        os._exit(1)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return child


def _read_to_end(connection: socket.socket) -> bytes:
    """Read until the other side closes; a copy of it in a child would keep this from ending."""
    found = b""
    while chunk := connection.recv(4096):
        found += chunk
    return found
