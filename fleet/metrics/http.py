"""How is one request for metrics or health answered? Three paths, each step with a time limit."""

import io
import json
import logging
import socket
import socketserver
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from fleet.metrics.state import Health

#: a request must be complete, and its answer be taken, within this time
REQUEST_TIMEOUT_SECONDS = 5.0
#: longest request line and headers together
MAX_HEAD_BYTES = 16_384
#: connections served at the same time; more are closed at once
MAX_CONNECTIONS = 32

#: answers a scrape, as a WSGI application does
Exposition = Callable[[Any, Any], Iterable[bytes]]

logger = logging.getLogger(__name__)


class HttpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections and gives each a thread, so that a silent one keeps nobody waiting.

    Raises OSError when the address is not to be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, place: Any, *, family: socket.AddressFamily, exposition: Exposition, health: Health
    ) -> None:
        self.address_family = family
        self.health = health
        self.exposition = exposition
        #: accepted and not yet closed; a forked child closes its copies
        self.connections: set[socket.socket] = set()
        super().__init__(place, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for this connection, or close it when there are too many already."""
        if len(self.connections) >= MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close this connection and forget it."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a connection broke; a scraper that goes away is no fault of ours."""
        del request
        logger.debug(
            "connection broke", exc_info=True, extra={"event": "metrics_connection", "client": client_address}
        )


class Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: HttpServer
    server_version = "fleet"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_SECONDS

    def setup(self) -> None:
        """Take the request's head before parsing it, so that one deadline covers all of it."""
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(_read_head(self.connection)))
        self.connection.settimeout(REQUEST_TIMEOUT_SECONDS)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer a HEAD: a GET's headers without its body."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Keep scrapes out of the log unless it is a debug log."""
        logger.debug(format, *args, extra={"event": "metrics_request"})

    def _answer(self, *, with_body: bool) -> None:
        target = urlsplit(self.path)
        if target.path == "/metrics":
            status, headers, body = self._metrics(target.query)
        elif target.path in ("/healthz", "/readyz"):
            status, headers, body = self._health(target.path)
        else:
            status, headers, body = _text(HTTPStatus.NOT_FOUND, "not found: try /metrics, /healthz, /readyz")
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _metrics(self, query: str) -> tuple[int, list[tuple[str, str]], bytes]:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/metrics",
            "QUERY_STRING": query,
            "HTTP_ACCEPT": self.headers.get("Accept", ""),
            "HTTP_ACCEPT_ENCODING": self.headers.get("Accept-Encoding", ""),
        }
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            started.append((int(status.split()[0]), headers))

        try:
            body = b"".join(self.server.exposition(environ, start_response))
        except (
            Exception
        ):  # a collector of the worker's room failed; the scrape must say so, the server lives on
            logger.exception("a scrape failed", extra={"event": "metrics_scrape_failed"})
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "a collector failed: see the log of this process")
        status, headers = started[0]
        return status, headers, body

    def _health(self, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        health = self.server.health
        try:
            good, detail = health.alive() if path == "/healthz" else health.ready()
        except Exception as error:  # noqa: BLE001 - a check that cannot run is an answer too: no
            good, detail = False, {"error": type(error).__name__}
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps({"ok": good, **detail}, default=str).encode() + b"\n"
        return status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], body


def _text(status: HTTPStatus, text: str) -> tuple[int, list[tuple[str, str]], bytes]:
    return status, [("Content-Type", "text/plain; charset=utf-8")], text.encode() + b"\n"


def _read_head(connection: socket.socket) -> bytes:
    """Return the request up to its empty line; nothing when it does not arrive in time."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            chunk = connection.recv(4096)
        except OSError:
            return b""
        if not chunk:
            return b""
        head += chunk
    return head
