"""A cable between a worker and its broker that a test can pull, wholly or in one direction."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK = 65536


class Cable:
    """Relays TCP from a port of its own to the broker's."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        #: bytes that workers send are thrown away, and the broker does not know
        self.deaf = threading.Event()
        self._closing = threading.Event()
        self._pull = threading.Event()
        self._threads: list[threading.Thread] = []

    def pull(self) -> None:
        """End every connection that goes through the cable now; later ones work again."""
        self._pull.set()
        for thread in self._threads[1:]:
            thread.join(5)
        self._pull.clear()

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]  # a callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._closing.is_set():
            try:
                worker, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._spawn(self._relay, worker, socket.create_connection(("127.0.0.1", self._broker_port)))

    def _relay(self, worker: socket.socket, broker: socket.socket) -> None:
        with worker, broker, selectors.DefaultSelector() as selector:
            selector.register(worker, selectors.EVENT_READ, broker)
            selector.register(broker, selectors.EVENT_READ, worker)
            with contextlib.suppress(OSError):
                while not (self._closing.is_set() or self._pull.is_set()):
                    for key, _ in selector.select(0.05):
                        source = key.fileobj
                        assert isinstance(source, socket.socket)
                        data = source.recv(CHUNK)
                        if not data:
                            return
                        if not (source is worker and self.deaf.is_set()):
                            key.data.sendall(data)
