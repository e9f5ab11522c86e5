"""A TCP proxy on loopback in front of a broker: it ends TLS, cuts connections at a given moment, or hangs."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

#: called with what the client sent; True cuts the connection after it has been passed on
Cut = Callable[[bytes], bool]


class Proxy:
    """Passes connections on to ``port``; with ``tls`` it speaks TLS to its clients."""

    def __init__(self, port: int, *, cut: Cut = lambda _: False, tls: ssl.SSLContext | None = None) -> None:
        self._target = port
        self._cut = cut
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="proxy")]
        #: connections that were accepted
        self.accepted = 0
        #: while set, connections stay open and nothing passes
        self.frozen = threading.Event()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(client,), name="proxy connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as broker:
            client.settimeout(5)
            speaker = self._tls.wrap_socket(client, server_side=True) if self._tls else client
            with speaker:
                self._pass_on(speaker, broker)

    def _pass_on(self, client: socket.socket, broker: socket.socket) -> None:
        """Pass bytes both ways until one side ends, the cut comes, or the test is over."""
        client.settimeout(0.02)
        broker.settimeout(0.02)
        while not self._stop.is_set():
            sent = _received(client)
            while self.frozen.is_set() and not self._stop.is_set():
                self._stop.wait(0.02)
            if sent:
                broker.sendall(sent)
                if self._cut(sent):
                    # Let the broker have the message, and keep its answer from the client.
                    self._stop.wait(0.3)
                    return
            answer = _received(broker)
            if answer:
                client.sendall(answer)
            if b"" in (sent, answer):
                return


def _received(side: socket.socket) -> bytes | None:
    """Return what has come in, b"" when the side has closed, None when nothing has."""
    try:
        return side.recv(65536)
    except (TimeoutError, ssl.SSLWantReadError):
        return None
