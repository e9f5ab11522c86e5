"""An HTTP server that answers what a test wants, on real sockets."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """An answer, or what happens instead of one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: close the connection without an answer
    hang_up: bool = False
    #: wait until the test is over before closing the connection
    silent: bool = False
    #: close the connection before the body of the request was read
    unread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A running server."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Asked], Say], *, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve ``answer`` on a free port of loopback, with ``tls`` over https."""
    ended = threading.Event()
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.close_connection = True
            headers = dict(self.headers.items())
            length = int(headers.get("Content-Length", 0))
            early = answer(Asked(method=self.command, path=self.path, headers=headers, body=b""))
            if early.unread:
                return
            request = Asked(
                method=self.command, path=self.path, headers=headers, body=self.rfile.read(length)
            )
            asked.append(request)
            self.say(answer(request))

        do_GET = do_POST = handle_any  # noqa: N815 - http.server's names

        def say(self, say: Say) -> None:
            if say.silent:
                ended.wait(timeout=30)
            if say.silent or say.hang_up:
                return
            self.send_response(say.status)
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(say.body)))
            self.end_headers()
            self.wfile.write(say.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Web(url=f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", asked=asked)
        finally:
            ended.set()
            server.shutdown()
            thread.join(timeout=10)
