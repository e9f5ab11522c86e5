"""A relay before the management API that numbers what changes the broker, and lets a test act at each one."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from urllib.parse import urlsplit

from tests.broker import BrokerNode

LOOPBACK = "127.0.0.1"


def nothing(number: int) -> None:
    """Let the write pass."""


@dataclass(kw_only=True)
class Gate:
    """What to do at the writes that pass; they are numbered from 1."""

    port: int
    before: Callable[[int], object] = nothing
    #: when the broker has answered, and the client does not know it yet
    after: Callable[[int], object] = nothing
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    url: str = ""
    #: numbers of the writes that are refused here
    refused: frozenset[int] = frozenset()
    #: how many writes the broker has answered
    passed: int = 0


@contextmanager
def gate(node: BrokerNode) -> Iterator[Gate]:
    """Run a relay to the management API of ``node``, which is on this machine."""
    port = urlsplit(node.management_url).port
    assert port is not None
    made = Gate(port=port)

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            number = next(made.numbers) if self.command != "GET" else None
            if number:
                made.before(number)
                if number in made.refused:
                    self.send_error(400)
                    return
            upstream = http.client.HTTPConnection(LOOPBACK, made.port, timeout=30)
            try:
                unwanted = ("host", "accept-encoding")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in unwanted}
                upstream.request(self.command, self.path, body=body, headers=headers)
                answer = upstream.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                # The broker is gone: so is this connection.
                self.close_connection = True
                return
            finally:
                upstream.close()
            if number:
                made.passed += 1
                made.after(number)
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type") or "")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = relay  # noqa: N815 - names that http.server looks for

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Relay)
    made.url = f"http://{LOOPBACK}:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
